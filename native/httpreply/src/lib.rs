//! `httpreply`: one small HTTP server in three shapes, a Linux program for a container and, for unikernels, a Solo5
//! guest (`spt`, `hvt`) and a kernel of its own (QEMU, Firecracker).
//!
//! What is common lies here and knows no machine: [`http`] turns bytes into bytes, [`boot`] reads the boot line and,
//! with the feature `net`, [`net`] is the TCP/IP stack and [`unikernel`] the loop that serves on it. The programs in
//! `bin/` add what differs: how time is read, how a frame is sent and how to sleep.
#![cfg_attr(not(test), no_std)]

pub mod boot;
#[cfg(any(feature = "hvt", feature = "kernel", test))]
pub mod clock;
pub mod http;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "net")]
pub mod once;
pub mod page;
#[cfg(any(feature = "kernel", test))]
pub mod places;
#[cfg(any(feature = "spt", feature = "hvt"))]
pub mod solo5;
#[cfg(any(feature = "kernel", test))]
pub mod tree;
#[cfg(feature = "net")]
pub mod unikernel;
