//! The hands of Tripod: one static program under several names. See README.md.

mod error;

fn main() {}
