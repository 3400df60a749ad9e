//! Answers ARP and ping at 10.0.0.2; ends well after as many echoes as `limit=N` says (100000 unless told).
#![no_std]
#![no_main]

use solo5_guest::net::Net;
use solo5_guest::{Start, clock_monotonic, icmp, print, yield_until};

solo5_guest::app!(main, Net "service0");

const ADDRESS: [u8; 4] = [10, 0, 0, 2];

fn main(start: &Start) -> i32 {
    let limit = start
        .command_line
        .strip_prefix("limit=")
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let Some(net) = Net::acquire("service0") else {
        return 1;
    };
    let mut frame = [0_u8; 2048];
    print!("Serving ping on 10.0.0.2, mtu {}\n", net.mtu);
    let mut echoes = 0_u64;
    while echoes < limit {
        if yield_until(clock_monotonic() + 1_000_000_000) & 1 << net.handle == 0 {
            continue;
        }
        while let Ok(length) = net.read(&mut frame) {
            let Some(frame) = frame.get_mut(..length) else {
                return 2;
            };
            let Some(echo) = icmp::answer(&net, ADDRESS, frame) else {
                continue;
            };
            if net.write(frame).is_err() {
                return 3;
            }
            echoes += u64::from(echo);
        }
    }
    print!("SUCCESS\n");
    0
}
