//! Reads back what it wrote, block by block, and is refused what is not one whole block inside the device.
#![no_std]
#![no_main]

use solo5_guest::block::Block;
use solo5_guest::{Error, Start, print};

solo5_guest::app!(main, Block "storage");

const MAX: usize = 32768;

fn main(_: &Start) -> i32 {
    let Some(block) = Block::acquire("storage") else {
        return 1;
    };
    if Block::acquire("other").is_some() {
        return 2;
    }
    let size = block.block_size as usize;
    let (mut wrote, mut read) = ([0_u8; MAX], [0_u8; MAX + 1]);
    let last = block.capacity - block.block_size;
    let mut offset = 0;
    loop {
        for (index, byte) in wrote[..size].iter_mut().enumerate() {
            *byte = (index as u64 ^ offset ^ offset >> 9) as u8;
        }
        read[..size].fill(0);
        if block.write(offset, &wrote[..size]).is_err() {
            return 3;
        }
        if block.read(offset, &mut read[..size]).is_err() {
            return 4;
        }
        if wrote[..size] != read[..size] {
            return 5;
        }
        if offset == last {
            break;
        }
        offset = (offset + 10 * block.block_size).min(last);
    }
    let refused = [
        (block.capacity, size),
        (0, size - 1),
        (0, size + 1),
        (1, size),
        (u64::MAX - 511, size),
    ];
    if refused
        .iter()
        .any(|&(offset, length)| block.read(offset, &mut read[..length]) != Err(Error::Invalid))
    {
        return 6;
    }
    print!("{} bytes in blocks of {size}\nSUCCESS\n", block.capacity);
    0
}
