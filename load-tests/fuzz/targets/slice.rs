//! Slices, which come from a store that others may write to.

#![no_main]

use facemill_fuzz::{decode, file_of, init};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: init(), |data: &[u8]| {
    let file = file_of(data);
    for times in [i64::MIN..=i64::MAX, 0..=0, 512..=4096] {
        if let Err(error) = decode(file.path(), times) {
            assert!(!error.to_string().is_empty());
        }
    }
});
