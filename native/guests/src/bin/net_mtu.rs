//! Says MTU and address of its device.
#![no_std]
#![no_main]

use solo5_guest::net::Net;
use solo5_guest::{Start, print};

solo5_guest::app!(main, Net "service0");

fn main(_: &Start) -> i32 {
    let Some(net) = Net::acquire("service0") else {
        return 1;
    };
    let [a, b, c, d, e, f] = net.mac;
    print!(
        "MTU is {}\nMAC is {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}\nSUCCESS\n",
        net.mtu
    );
    0
}
