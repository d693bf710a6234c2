//! What files say of themselves: packets of XMP, and the tags of containers.

#![no_main]

use facemill_fuzz::{file_of, init, marks, media};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: init(), |data: &[u8]| {
    let mut found = marks::Found::default();
    let each = &mut |packet: &[u8]| {
        found = std::mem::take(&mut found).or(marks::xmp::read(packet));
        true
    };
    marks::packets(data, each).expect("memory can be read");
    // A packet is found in what is no container, too.
    let said = media::read_marks(file_of(data).path()).expect("the file can be read");
    assert!(media::picture_format(file_of(data).path()).is_none() || said == found);
});
