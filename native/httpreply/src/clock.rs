//! Time from the processor's counter.

/// Microseconds that have passed since the clock was made, from a counter of constant frequency.
pub struct CounterClock {
    start: u64,
    /// Microseconds a count, times 2^44.
    scale: u64,
}

/// The lowest frequency whose scale fits 64 bits; no processor is as slow.
const LEAST_HZ: u64 = 1_000_000;

impl CounterClock {
    /// A clock that shows 0 when the counter shows `start`. `hz` below 1 MHz counts as 1 MHz.
    pub const fn new(start: u64, hz: u64) -> Self {
        let hz = if hz < LEAST_HZ { LEAST_HZ } else { hz };
        Self {
            start,
            scale: (1_000_000 << 44) / hz,
        }
    }

    /// The time at a counter value. A value from before the start, as processors out of step show, is the start.
    pub const fn us_at(&self, count: u64) -> u64 {
        let counts = count.saturating_sub(self.start) as u128;
        ((counts * self.scale as u128) >> 44) as u64
    }
}

/// Reads the time stamp counter.
#[cfg(all(target_arch = "x86_64", any(feature = "hvt", feature = "kernel")))]
pub fn read_counter() -> u64 {
    // SAFETY: RDTSC reads a register and is allowed in ring 0, where these guests run.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads the virtual counter.
#[cfg(all(target_arch = "aarch64", any(feature = "hvt", feature = "kernel")))]
pub fn read_counter() -> u64 {
    let count;
    // SAFETY: reads a register. The barrier keeps the processor from reading it too early.
    unsafe {
        core::arch::asm!("isb", "mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags))
    };
    count
}

#[cfg(test)]
mod tests {
    use super::CounterClock;

    #[test]
    fn counts_become_microseconds_without_drift() {
        let clock = CounterClock::new(1000, 2_250_008_000);
        assert_eq!(clock.us_at(1000), 0);
        assert_eq!(clock.us_at(0), 0);
        let day = 86_400;
        let shown = clock.us_at(1000 + day * 2_250_008_000);
        assert!((86_399_990_000..=86_400_000_000).contains(&shown), "{shown}");
    }

    #[test]
    fn no_frequency_and_no_count_overflow() {
        assert_eq!(CounterClock::new(0, 0).us_at(5), 5);
        assert!(CounterClock::new(0, 1).us_at(u64::MAX) > 0);
    }
}
