//! What files say of themselves: packets of XMP, labels, and the tags of containers.

#![no_main]

use facemill_fuzz::{file_of, init, marks, media};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: init(), |data: &[u8]| {
    let found = marks::find(data).expect("memory can be read");
    let file = file_of(data);
    let said = media::read_marks(file.path()).expect("the file can be read");
    // A picture is searched, a container asked.
    assert!(media::picture_format(file.path()).is_none() || said == found);
});
