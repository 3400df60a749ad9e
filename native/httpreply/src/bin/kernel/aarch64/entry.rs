//! The way from Linux's boot protocol (memory not mapped, caches off, the image anywhere) to
//! Rust.

use core::arch::global_asm;

/// Bytes of stack.
const STACK_BYTES: usize = 128 * 1024;

unsafe extern "C" {
    static IMAGE_START: u8;
    static IMAGE_END: u8;
}

/// Where the image begins and ends, its memory included.
pub fn image() -> (usize, usize) {
    ((&raw const IMAGE_START).addr(), (&raw const IMAGE_END).addr())
}

global_asm!(
    r#"
    .section .text.entry, "ax", @progbits
    // Behind the header, which link/image.ld writes.
begin:
    msr daifset, #0xf
    mov x19, x0
    mrs x0, CurrentEL
    cmp x0, #8
    b.ne in_kernel_mode
    // From the hypervisor's mode to the kernel's, which may then read the counter and use the timer.
    mov x0, #0x80000000
    msr hcr_el2, x0
    mov x0, #3
    msr cnthctl_el2, x0
    msr cntvoff_el2, xzr
    mrs x0, id_aa64pfr0_el1
    ubfx x0, x0, #24, #4
    cbz x0, 1f
    // A version 3 interrupt controller is reached by system registers.
    mrs x0, s3_4_c12_c9_5
    mov x1, #9
    orr x0, x0, x1
    msr s3_4_c12_c9_5, x0
    isb
1:  ldr x0, =0x30d00800
    msr sctlr_el1, x0
    mov x0, #0x3c5
    msr spsr_el2, x0
    adr x0, in_kernel_mode
    msr elr_el2, x0
    eret

in_kernel_mode:
    // One to one, 512 GiB in blocks of 1 GiB: memory from the one where the image lies, below it devices. The map is
    // written past the caches, which must not hold it.
    adrp x1, map
    adrp x2, IMAGE_START
    lsr x2, x2, #30
    mov x3, #0
    ldr x6, =0x0060000000000405
    mov x7, #0x701
1:  cmp x3, x2
    csel x4, x6, x7, lo
    orr x4, x4, x3, lsl #30
    str x4, [x1]
    dmb sy
    dc ivac, x1
    add x1, x1, #8
    add x3, x3, #1
    cmp x3, #512
    b.ne 1b
    adrp x1, map
    // Memory is cached, devices are not.
    mov x0, #0x04ff
    msr mair_el1, x0
    // 39 bits of address, the map cached, no upper half; as many bits outside as the processor has.
    mrs x0, id_aa64mmfr0_el1
    and x0, x0, #7
    ldr x2, =0x00803519
    orr x0, x2, x0, lsl #32
    msr tcr_el1, x0
    msr ttbr0_el1, x1
    dsb sy
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    ldr x0, =0x30d01805
    msr sctlr_el1, x0
    isb

    // Each relocation adds where the image lies to a word: place, kind, value.
    adrp x0, IMAGE_START
    adrp x1, RELOCATIONS
    add x1, x1, :lo12:RELOCATIONS
    adrp x2, RELOCATIONS_END
    add x2, x2, :lo12:RELOCATIONS_END
1:  cmp x1, x2
    b.hs 2f
    ldp x3, x4, [x1], #16
    ldr x4, [x1], #8
    add x4, x4, x0
    str x4, [x0, x3]
    b 1b
2:  adrp x1, MEMORY
    add x1, x1, :lo12:MEMORY
    adrp x2, MEMORY_END
    add x2, x2, :lo12:MEMORY_END
1:  cmp x1, x2
    b.hs 2f
    stp xzr, xzr, [x1], #16
    b 1b
2:  adrp x0, stack_top
    add x0, x0, :lo12:stack_top
    mov sp, x0
    adrp x0, vectors
    add x0, x0, :lo12:vectors
    msr vbar_el1, x0
    isb
    mov x29, xzr
    mov x30, xzr
    mov x0, x19
    b image_start
    .ltorg

    // Interrupts stay off: whatever comes here is a fault.
    .section .text.vectors, "ax", @progbits
    .balign 2048
vectors:
    .rept 16
    b fault
    .balign 128
    .endr
fault:
    mrs x0, esr_el1
    mrs x1, elr_el1
    mrs x2, far_el1
    b image_fault

    .section .map, "aw", @nobits
    .balign 4096
map:
    .skip 4096

    .section .bss.stack, "aw", @nobits
    .balign 16
    .skip {stack}
stack_top:
    .text
    "#,
    stack = const STACK_BYTES,
);
