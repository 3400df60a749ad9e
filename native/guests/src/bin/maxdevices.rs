//! Declares as many devices as there can be, and writes to each.
#![no_std]
#![no_main]

use solo5_guest::block::Block;
use solo5_guest::{Start, manifest, print};

#[rustfmt::skip]
solo5_guest::app!(
    main,
    Block "storage1",
    Block "storage2",
    Block "storage3",
    Block "storage4",
    Block "storage5",
    Block "storage6",
    Block "storage7",
    Block "storage8",
    Block "storage9",
    Block "storage10",
    Block "storage11",
    Block "storage12",
    Block "storage13",
    Block "storage14",
    Block "storage15",
    Block "storage16",
    Block "storage17",
    Block "storage18",
    Block "storage19",
    Block "storage20",
    Block "storage21",
    Block "storage22",
    Block "storage23",
    Block "storage24",
    Block "storage25",
    Block "storage26",
    Block "storage27",
    Block "storage28",
    Block "storage29",
    Block "storage30",
    Block "storage31",
    Block "storage32",
    Block "storage33",
    Block "storage34",
    Block "storage35",
    Block "storage36",
    Block "storage37",
    Block "storage38",
    Block "storage39",
    Block "storage40",
    Block "storage41",
    Block "storage42",
    Block "storage43",
    Block "storage44",
    Block "storage45",
    Block "storage46",
    Block "storage47",
    Block "storage48",
    Block "storage49",
    Block "storage50",
    Block "storage51",
    Block "storage52",
    Block "storage53",
    Block "storage54",
    Block "storage55",
    Block "storage56",
    Block "storage57",
    Block "storage58",
    Block "storage59",
    Block "storage60",
    Block "storage61",
    Block "storage62",
    Block "storage63",
);

fn main(_: &Start) -> i32 {
    if manifest::entries().len() != 64 {
        return 1;
    }
    let mut bytes = [0_u8; 512];
    for (_, name) in DEVICES {
        let Some(block) = Block::acquire(name) else {
            return 2;
        };
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        if block.write(0, &bytes).is_err() {
            return 3;
        }
    }
    print!("SUCCESS\n");
    0
}
