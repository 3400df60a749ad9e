//! How fast the time stamp counter runs: asked of the hypervisor, else of the processor, else measured against the local
//! APIC's timer. No legacy timer is needed.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU64, Ordering};

use httpreply::clock::read_counter;

use super::interrupts::{TIMER_HZ, start_timer, timer_count};

/// KVM's MSR for the page of its clock (`MSR_KVM_SYSTEM_TIME_NEW`), and the feature bit that announces it.
const KVM_SYSTEM_TIME: u32 = 0x4b56_4d01;
const KVM_HAS_SYSTEM_TIME: u32 = 1 << 3;
/// How long to measure: 4 ms.
const MEASURED_TICKS: u64 = TIMER_HZ / 250;
/// A count slower than this is no answer.
const LEAST_HZ: u64 = 100_000_000;

/// Counts per second.
pub fn frequency_hz() -> u64 {
    let known = [from_kvm_clock, from_hypervisor_leaf, from_processor_leaf];
    known
        .into_iter()
        .find_map(|ask| ask().filter(|&hz| hz >= LEAST_HZ))
        .unwrap_or_else(measure)
}

/// The words of `struct pvclock_vcpu_time_info`, 32 bytes.
#[repr(C, align(64))]
struct KvmClock([AtomicU64; 4]);

static KVM_CLOCK: KvmClock = KvmClock([const { AtomicU64::new(0) }; 4]);

fn from_kvm_clock() -> Option<u64> {
    let leaf = hypervisor_leaf(0x4000_0000).filter(|leaf| leaf.signature() == *b"KVMKVMKVM\0\0\0")?;
    let has_clock = leaf.eax > 0x4000_0000 && __cpuid(0x4000_0001).eax & KVM_HAS_SYSTEM_TIME != 0;
    if !has_clock {
        return None;
    }
    write_msr(KVM_SYSTEM_TIME, (&raw const KVM_CLOCK).addr() as u64 | 1);
    let word = KVM_CLOCK.0[3].load(Ordering::SeqCst);
    write_msr(KVM_SYSTEM_TIME, 0);
    // nanoseconds = (counts << shift) * scale >> 32
    let (scale, shift) = (word & 0xffff_ffff, (word >> 32) as u8 as i8);
    let counts = (1_000_000_000_u64 << 32).checked_div(scale)?;
    let places = shift.unsigned_abs().into();
    if shift < 0 {
        counts.checked_shl(places)
    } else {
        counts.checked_shr(places)
    }
}

/// The leaf by which VMware began, and others followed, to say kilohertz.
fn from_hypervisor_leaf() -> Option<u64> {
    let last = hypervisor_leaf(0x4000_0000)?.eax;
    let is_there = (0x4000_0010..0x4001_0000).contains(&last);
    is_there.then(|| u64::from(__cpuid(0x4000_0010).eax) * 1000)
}

fn from_processor_leaf() -> Option<u64> {
    if __cpuid(0).eax < 0x15 {
        return None;
    }
    let ratio = __cpuid_count(0x15, 0);
    (u64::from(ratio.ecx) * u64::from(ratio.ebx)).checked_div(ratio.eax.into())
}

struct Leaf {
    eax: u32,
    words: [u32; 3],
}

impl Leaf {
    fn signature(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

fn hypervisor_leaf(number: u32) -> Option<Leaf> {
    let has_hypervisor = __cpuid(1).ecx >> 31 == 1;
    let answer = has_hypervisor.then(|| __cpuid(number))?;
    Some(Leaf {
        eax: answer.eax,
        words: [answer.ebx, answer.ecx, answer.edx],
    })
}

fn measure() -> u64 {
    start_timer(u32::MAX);
    let (first_count, first_ticks) = sample();
    loop {
        let (count, ticks) = sample();
        let passed = first_ticks.saturating_sub(ticks);
        if passed >= MEASURED_TICKS {
            start_timer(0);
            return count.saturating_sub(first_count) * TIMER_HZ / passed;
        }
        // A timer that stands still would hold us forever; two seconds of the fastest counter are too long.
        if count.saturating_sub(first_count) > 10_000_000_000 {
            start_timer(0);
            return 1_000_000_000;
        }
    }
}

/// The counter and the timer at nearly the same moment: of a few attempts the quickest.
fn sample() -> (u64, u64) {
    let attempt = || {
        let before = read_counter();
        let ticks = timer_count();
        let after = read_counter();
        (after.saturating_sub(before), before, u64::from(ticks))
    };
    let (_, count, ticks) = attempt().min(attempt()).min(attempt());
    (count, ticks)
}

fn write_msr(number: u32, value: u64) {
    // SAFETY: KVM's own register, announced by its feature bit: it writes to the clock's page and nothing else.
    unsafe {
        asm!("wrmsr", in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}
