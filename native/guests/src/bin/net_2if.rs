//! Answers ARP and ping at 10.0.0.2 and, on a second device, 10.1.0.2; ends well after `limit=N` echoes in all.
#![no_std]
#![no_main]

use solo5_guest::net::Net;
use solo5_guest::{Start, clock_monotonic, icmp, print, yield_until};

solo5_guest::app!(main, Net "service0", Net "service1");

fn main(start: &Start) -> i32 {
    let limit = start
        .command_line
        .strip_prefix("limit=")
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let (Some(first), Some(second)) = (Net::acquire("service0"), Net::acquire("service1")) else {
        return 1;
    };
    if first.handle == second.handle || first.mac == second.mac {
        return 2;
    }
    print!("Serving ping on 10.0.0.2 and 10.1.0.2\n");
    let mut frame = [0_u8; 2048];
    let mut echoes = [0_u64; 2];
    while echoes.iter().sum::<u64>() < limit {
        let ready = yield_until(clock_monotonic() + 1_000_000_000);
        for (index, (net, address)) in [(first, [10, 0, 0, 2]), (second, [10, 1, 0, 2])]
            .into_iter()
            .enumerate()
        {
            if ready & 1 << net.handle == 0 {
                continue;
            }
            while let Ok(length) = net.read(&mut frame) {
                let Some(frame) = frame.get_mut(..length) else {
                    return 3;
                };
                let Some(echo) = icmp::answer(&net, address, frame) else {
                    continue;
                };
                if net.write(frame).is_err() {
                    return 4;
                }
                echoes[index] += u64::from(echo);
            }
        }
    }
    print!("{} and {} echoes\nSUCCESS\n", echoes[0], echoes[1]);
    0
}
