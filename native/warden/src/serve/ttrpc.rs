//! ttrpc's frames (github.com/containerd/ttrpc, PROTOCOL.md): ten bytes of length, stream, type and flags, all big endian, before each message. What a message
//! says is the daemon's affair.

/// The longest message, bytes.
pub const MAX_PAYLOAD: usize = 4 << 20;
const HEADER: usize = 10;
const RESPONSE: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    /// Responses, stream data, and whatever is not known.
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Whole {
        kind: Kind,
        stream: u32,
        payload: Vec<u8>,
    },
    /// Its message is passed over.
    TooLong { stream: u32, length: u32 },
}

/// Frames out of a stream of bytes; never more than one message of them is held.
#[derive(Default)]
pub struct Frames {
    input: Vec<u8>,
    /// Bytes of a message that is too long, still to come.
    skip: usize,
}

impl Frames {
    pub fn feed(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let wanted = self.wanted() - self.input.len();
            let taken = wanted.min(bytes.len());
            self.input.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.finish(frames);
        }
    }

    /// How long the input is once the header, or header and message, are whole.
    fn wanted(&self) -> usize {
        if self.input.len() < HEADER {
            HEADER
        } else {
            HEADER + self.length() as usize
        }
    }

    fn length(&self) -> u32 {
        word(&self.input, 0)
    }

    fn finish(&mut self, frames: &mut Vec<Frame>) {
        if self.input.len() < HEADER {
            return;
        }
        let (length, stream) = (self.length(), word(&self.input, 4));
        if length as usize > MAX_PAYLOAD {
            self.skip = length as usize;
            self.input.clear();
            frames.push(Frame::TooLong { stream, length });
        } else if self.input.len() == HEADER + length as usize {
            let kind = if self.input[8] == 1 {
                Kind::Request
            } else {
                Kind::Other
            };
            let payload = self.input.split_off(HEADER);
            self.input.clear();
            frames.push(Frame::Whole {
                kind,
                stream,
                payload,
            });
        }
    }
}

/// A big-endian word; the input holds it.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The frame of an answer.
pub fn response(stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[RESPONSE, 0]);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = response(stream, payload);
        frame[8] = 1;
        frame
    }

    #[test]
    fn frames_are_whole_wherever_the_bytes_are_cut() {
        let bytes = [request(1, b"abc"), request(3, b""), response(5, b"xy")].concat();
        for size in 1..=bytes.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                frames.feed(chunk, &mut found);
            }
            let whole = |kind, stream, payload: &[u8]| Frame::Whole {
                kind,
                stream,
                payload: payload.to_vec(),
            };
            assert_eq!(
                found,
                [
                    whole(Kind::Request, 1, b"abc"),
                    whole(Kind::Request, 3, b""),
                    whole(Kind::Other, 5, b"xy")
                ],
                "{size}"
            );
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_passed_over_and_costs_nothing() {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        let mut head = request(1, b"");
        head[..4].copy_from_slice(&(MAX_PAYLOAD as u32 + 1).to_be_bytes());
        frames.feed(&head, &mut found);
        let chunk = vec![0u8; 64 << 10];
        for _ in 0..64 {
            frames.feed(&chunk, &mut found);
            assert!(frames.input.is_empty());
        }
        frames.feed(&[0], &mut found);
        frames.feed(&request(3, b"next"), &mut found);
        assert_eq!(found.len(), 2);
        assert!(matches!(found[0], Frame::TooLong { stream: 1, .. }));
        assert!(matches!(&found[1], Frame::Whole { stream: 3, payload, .. } if payload == b"next"));
    }
}
