//! From the PVH entry (32-bit protected mode, no paging) to Rust in long mode, and the landing places of interrupts.
//!
//! The tables are made by the assembler, not at run time: some hypervisors interpret the guest until paging is on.

use core::arch::global_asm;

/// Bytes of stack.
const STACK_BYTES: usize = 128 * 1024;

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_entry

    .section .text.entry, "ax", @progbits
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    mov esi, ebx
    lgdt [gdt_register]
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, offset page_map
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80010001
    mov cr0, eax
    // A far jump to the 64-bit code segment.
    .byte 0xea
    .long long_mode
    .word 8

    .code64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov esp, offset stack_top
    mov edi, esi
    xor ebp, ebp
    call pvh_start
    ud2

    // void halt_once(void): sleeps until an interrupt. Interrupts are off before and after, and the one that comes is
    // dropped with its frame instead of returned from: not every software KVM has IRET, and nothing is lost, since this
    // is the only place where one can come.
    .section .text.halt_once, "ax", @progbits
    .globl halt_once
halt_once:
    sti
    hlt
    cli
    ret
    .globl interrupt
interrupt:
    mov eax, 0xfee000b0
    mov dword ptr [rax], 0
    mov rsp, [rsp + 24]
    ret

    .globl fault
fault:
    mov rdi, rsp
    and rsp, -16
    call pvh_fault
    ud2

    .section .data.tables, "aw", @progbits
    .balign 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_register:
    .word 23
    .long gdt

    // 4 GiB one to one, in pages of 2 MiB; the last GiB, where the devices are, uncached.
    .balign 4096
page_map:
    .quad page_directory_pointers + 3
    .fill 511, 8, 0
page_directory_pointers:
    .quad page_directories + 0x3, page_directories + 0x1003, page_directories + 0x2003, page_directories + 0x3003
    .fill 508, 8, 0
page_directories:
    .set page, 0
    .rept 1536
    .quad page + 0x83
    .set page, page + 0x200000
    .endr
    .rept 512
    .quad page + 0x9b
    .set page, page + 0x200000
    .endr

    .section .bss.stack, "aw", @nobits
    .balign 16
    .skip {stack}
stack_top:
    .text
    "#,
    stack = const STACK_BYTES,
);
