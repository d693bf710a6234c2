//! Whole clips, in any container: what ingest and a lane do with them.

#![no_main]

use facemill_fuzz::{file_of, init, whole_way};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: init(), |data: &[u8]| {
    if let Err(error) = whole_way(file_of(data).path()) {
        assert!(!error.to_string().is_empty());
    }
});
