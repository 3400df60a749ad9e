//! The clocks move, sleeping takes as long as asked, and a deadline in the past does not hang.
#![no_std]
#![no_main]

use solo5_guest::{Start, clock_monotonic, clock_wall, print, yield_until};

solo5_guest::app!(main);

const SECOND: u64 = 1_000_000_000;
/// 2017-01-01 in seconds since the epoch.
const YEAR_2017: u64 = 1_483_228_800;
/// Long enough to tell a sleep from none, short enough for a test.
const SLEEP: u64 = SECOND / 5;

fn main(_: &Start) -> i32 {
    if clock_wall() / SECOND < YEAR_2017 {
        return 1;
    }
    let first = clock_monotonic();
    yield_until(0);
    yield_until(clock_monotonic());
    for _ in 0..5 {
        let (before, wall) = (clock_monotonic(), clock_wall());
        while clock_monotonic() < before + SLEEP {
            if yield_until(before + SLEEP) != 0 {
                return 2;
            }
        }
        let (slept, wall) = (clock_monotonic() - before, clock_wall() - wall);
        // The machine may be busy; a clock of a wrong scale is off by far more.
        if slept > SLEEP * 5 || wall + SLEEP / 10 < SLEEP || wall > SLEEP * 5 {
            print!("slept {slept} ns by the monotonic clock, {wall} ns by the wall clock\n");
            return 3;
        }
    }
    if clock_monotonic() < first + 5 * SLEEP {
        return 4;
    }
    print!("SUCCESS\n");
    0
}
