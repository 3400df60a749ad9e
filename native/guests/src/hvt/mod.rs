//! ABI `hvt` 2: hypercalls by `out` to port 0x500 + N with the address of an argument struct.

mod trap;

use crate::Error;
use crate::block::Block;
use crate::cell::Single;
use crate::net::Net;
use core::arch::asm;

#[repr(C)]
pub struct BootInfo {
    pub memory_size: u64,
    pub kernel_end: u64,
    pub cycle_frequency: u64,
    pub command_line: u64,
    pub manifest: u64,
    pub host_features: u32,
    pub guest_features: u32,
    pub net_ring: u64,
}

const WALLTIME: u16 = 1;
const PUTS: u16 = 2;
const POLL: u16 = 3;
const BLOCK_WRITE: u16 = 4;
const BLOCK_READ: u16 = 5;
const NET_WRITE: u16 = 6;
const NET_READ: u16 = 7;
const HALT: u16 = 8;
const PORT: u16 = 0x500;
const FS_BASE: u32 = 0xc000_0100;
const SECOND: u64 = 1_000_000_000;

/// Cycle counter and wall clock at the start.
static CYCLES_AT_START: Single<u64> = Single::new(0);

/// Hypercall `number` with the argument struct at `argument`, which lies below 4 GiB like all memory.
///
/// # Safety
/// The tender reads and writes the struct and what it points to, as the call's definition says.
pub unsafe fn hypercall<T>(number: u16, argument: *mut T) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("out dx, eax", in("dx") PORT + number, in("eax") argument as u64 as u32, options(nostack))
    };
}

pub(crate) fn set_up() {
    trap::install();
    CYCLES_AT_START.set(cycles());
}

pub(crate) fn set_thread_pointer(address: u64) {
    // SAFETY: nothing here uses the thread pointer but the caller.
    unsafe { asm!("wrmsr", in("ecx") FS_BASE, in("eax") address as u32, in("edx") (address >> 32) as u32) };
}

#[repr(C)]
struct Halt {
    cookie: u64,
    status: i32,
}

pub(crate) fn halt(status: i32, cookie: u64) -> ! {
    let mut halt = Halt { cookie, status };
    loop {
        // SAFETY: ends the guest.
        unsafe { hypercall(HALT, &raw mut halt) };
    }
}

pub(crate) fn puts(bytes: &[u8]) {
    let mut arguments = [bytes.as_ptr() as u64, bytes.len() as u64];
    // SAFETY: a valid buffer that the tender only reads.
    unsafe { hypercall(PUTS, &raw mut arguments) };
}

fn cycles() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads the cycle counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

pub(crate) fn clock_monotonic() -> u64 {
    let elapsed = u128::from(cycles().wrapping_sub(CYCLES_AT_START.get()));
    (elapsed * u128::from(SECOND) / u128::from(crate::start::boot_info().cycle_frequency)) as u64
}

pub(crate) fn clock_wall() -> u64 {
    let mut now = 0_u64;
    // SAFETY: the struct is this one number.
    unsafe { hypercall(WALLTIME, &raw mut now) };
    now
}

pub(crate) fn yield_until(deadline: u64) -> u64 {
    #[repr(C)]
    struct Poll {
        timeout: u64,
        ready: u64,
        result: i32,
    }
    let mut poll = Poll {
        timeout: deadline.saturating_sub(clock_monotonic()),
        ready: 0,
        result: 0,
    };
    // SAFETY: the struct of this call.
    unsafe { hypercall(POLL, &raw mut poll) };
    poll.ready
}

#[repr(C)]
struct NetCall {
    handle: u64,
    data: u64,
    length: u64,
    result: i32,
}

#[repr(C)]
struct BlockCall {
    handle: u64,
    offset: u64,
    data: u64,
    length: u64,
    result: i32,
}

fn answer(result: i32) -> Result<(), Error> {
    match result {
        0 => Ok(()),
        1 => Err(Error::Again),
        2 => Err(Error::Invalid),
        _ => Err(Error::Unspecified),
    }
}

pub(crate) fn net_read(net: &Net, into: &mut [u8]) -> Result<usize, Error> {
    let mut call = NetCall {
        handle: net.handle,
        data: into.as_mut_ptr() as u64,
        length: into.len() as u64,
        result: -1,
    };
    // SAFETY: the struct of this call, with a valid buffer.
    unsafe { hypercall(NET_READ, &raw mut call) };
    answer(call.result).map(|()| call.length as usize)
}

pub(crate) fn net_write(net: &Net, frame: &[u8]) -> Result<(), Error> {
    let mut call = NetCall {
        handle: net.handle,
        data: frame.as_ptr() as u64,
        length: frame.len() as u64,
        result: -1,
    };
    // SAFETY: the struct of this call, with a valid buffer.
    unsafe { hypercall(NET_WRITE, &raw mut call) };
    answer(call.result)
}

pub(crate) fn block_read(block: &Block, offset: u64, into: &mut [u8]) -> Result<(), Error> {
    block_call(BLOCK_READ, block, offset, into.as_mut_ptr() as u64, into.len())
}

pub(crate) fn block_write(block: &Block, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    block_call(BLOCK_WRITE, block, offset, bytes.as_ptr() as u64, bytes.len())
}

fn block_call(number: u16, block: &Block, offset: u64, data: u64, length: usize) -> Result<(), Error> {
    let mut call = BlockCall {
        handle: block.handle,
        offset,
        data,
        length: length as u64,
        result: -1,
    };
    // SAFETY: the struct of this call, with a valid buffer of that length.
    unsafe { hypercall(number, &raw mut call) };
    answer(call.result)
}
