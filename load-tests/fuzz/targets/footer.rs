//! Footers of results.

#![no_main]

use facemill_fuzz::{file_of, seal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let in_memory = seal::footer_in(data);
    let file = file_of(data);
    let on_disk = seal::footer(file.path());
    if data.len() as u64 <= seal::FOOTER_REACH {
        assert_eq!(in_memory.is_ok(), on_disk.is_ok());
    }
    if let Ok((footer, payload)) = on_disk {
        assert!(payload < data.len() as u64);
        assert!(seal::verify(file.path()).is_err_and(|_| true) || !footer.sha256.to_string().is_empty());
    }
});
