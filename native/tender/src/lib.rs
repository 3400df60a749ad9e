//! The parts of `tripod-tender`: what reads a Solo5 executable, attaches devices and runs the guest as a seccomp
//! process (`spt`) or as a small KVM guest (`hvt`). A library so that tests and the fuzz target reach the parser.
//!
//! The contract followed is Solo5's, version 0.12: ABI `hvt` 2 and `spt` 2, manifest version 1.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod boot;
pub mod cli;
pub mod devices;
pub mod elf;
pub mod failure;
pub mod hvt;
pub mod manifest;
pub mod memory;
pub mod probe;
pub mod signals;
pub mod spt;
