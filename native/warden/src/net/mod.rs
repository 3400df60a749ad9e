//! The sandbox's network: what stands in its namespace (`look`), the guest's tap and its redirect, and the CNI
//! plugins that an operator configured. Everything here acts on the calling thread's present network namespace,
//! except `cni`, whose plugins run in the host's.

pub mod cni;
mod facts;
mod link;
mod look;
mod netlink;
mod redirect;
pub mod tap;

pub use facts::NetFacts;
pub use link::{give_address, loopback_up};
pub use look::look;

#[cfg(test)]
mod tests;
