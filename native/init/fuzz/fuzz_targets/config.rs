//! Any bytes as a configuration and as words: no panic, nothing read that is not there, and no word lost but by joining.
//! The init is a program without a library, so its sources are taken in by path.

#![no_main]

extern crate alloc;

#[path = "../../src/config.rs"]
mod config;
#[path = "../../src/words.rs"]
mod words;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|&byte| byte == b'\n').count();
    match config::Config::parse(bytes) {
        Ok(config) => {
            assert!(config.environment.len() + 2 * config.disks.len() < lines);
            assert!(
                config
                    .disks
                    .iter()
                    .all(|disk| disk.mount_point.to_bytes().starts_with(b"/"))
            );
            assert!(config.directory.is_none_or(|directory| !directory.is_empty()));
            assert!(config.uid != Some(u32::MAX) && config.gid != Some(u32::MAX));
        }
        Err(why) => assert!((1..=lines).contains(&why.line) && !why.to_string().is_empty()),
    }
    let pieces: Vec<Vec<u8>> = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    let length = pieces.iter().map(|piece| piece.len() + 1).sum::<usize>();
    let joined = words::joined(pieces);
    // A group loses its two quotes and nothing else.
    let after = joined.iter().map(|word| word.len() + 1).sum::<usize>();
    assert!(after <= length && (length - after).is_multiple_of(2));
});
