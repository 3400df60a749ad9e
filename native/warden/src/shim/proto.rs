//! The few messages that the shim itself writes, in protobuf's encoding: a field is its number and wire type as a varint, then its value.

use std::io::Write;

const VARINT: u64 = 0;
const BYTES: u64 = 2;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A number; 0 is left out, as proto3 has it.
pub fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3 | VARINT);
        varint(out, value);
    }
}

pub fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | BYTES);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// `containerd.task.v2.DeleteResponse`: pid 1, exit_status 2, exited_at 3 (seconds 1, nanos 2).
pub fn delete_response(pid: u32, exit_status: u32, seconds: u64) -> Vec<u8> {
    let mut at = Vec::new();
    number(&mut at, 1, seconds);
    let mut out = Vec::new();
    number(&mut out, 1, pid.into());
    number(&mut out, 2, exit_status.into());
    bytes(&mut out, 3, &at);
    out
}

/// `containerd.runtime.v2.RuntimeInfo`: name 1, version 2 (version 1).
pub fn runtime_info() -> Vec<u8> {
    let mut version = Vec::new();
    bytes(&mut version, 1, env!("CARGO_PKG_VERSION").as_bytes());
    let mut out = Vec::new();
    bytes(&mut out, 1, b"io.containerd.tripod.v2");
    bytes(&mut out, 2, &version);
    out
}

/// `containerd.ttrpc.Response` with a status alone: status 1 (code 1, message 2).
pub fn refusal(code: u64, message: &str) -> Vec<u8> {
    let mut status = Vec::new();
    number(&mut status, 1, code);
    bytes(&mut status, 2, message.as_bytes());
    let mut out = Vec::new();
    bytes(&mut out, 1, &status);
    out
}

pub fn print(message: &[u8]) -> Result<(), String> {
    std::io::stdout()
        .write_all(message)
        .map_err(|error| format!("the answer cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_encoding_has_them() {
        assert_eq!(
            delete_response(300, 137, 1),
            [0x08, 0xac, 0x02, 0x10, 0x89, 0x01, 0x1a, 0x02, 0x08, 0x01]
        );
        assert_eq!(delete_response(0, 0, 0), [0x1a, 0x00]);
        assert_eq!(refusal(8, "x"), [0x0a, 0x05, 0x08, 0x08, 0x12, 0x01, b'x']);
    }
}
