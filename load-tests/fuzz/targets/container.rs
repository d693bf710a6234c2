//! What a container promises of its own length.

#![no_main]

use facemill_fuzz::file_of;
use libfuzzer_sys::fuzz_target;

/// The file alone, which is not public in its module.
#[path = "../../../src/media"]
mod parts {
    pub mod integrity;

    pub fn look(path: &std::path::Path) {
        let length = path.metadata().expect("it was just written").len();
        if let Some(promised) = integrity::cut_off(path).expect("the file can be read") {
            assert!(!promised.is_empty());
        }
        assert!(integrity::shorter("it", length, length).is_none());
    }
}

fuzz_target!(|data: &[u8]| parts::look(file_of(data).path()));
