//! Photos.

#![no_main]

use facemill_fuzz::photo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(picture) = photo::decode(data) {
        assert_eq!(picture.as_raw().len(), picture.width() as usize * picture.height() as usize * 3);
    }
});
