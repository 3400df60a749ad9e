//! The parts of `unpack` that read bytes, without those that make files.

#[path = "../../../src/unpack/arguments.rs"]
pub mod arguments;
#[path = "../../../src/unpack/name.rs"]
pub mod name;
#[path = "../../../src/unpack/reader/mod.rs"]
pub mod reader;
