//! Records and objects: whatever is read of one can be written and read again, and is the same then.

#![no_main]

use facemill_fuzz::contract::{
    Cancellation, ChunkRecord, Job, JobEvent, Layout, Manifest, OpenMarker, Plan, ResultFooter, Run, SliceIndex, Status,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    let once_more = serde_json::to_vec(&again).expect("what was read can be written");
    assert_eq!(written, once_more, "{read:?}");
    Some(read)
}

fuzz_target!(|data: &[u8]| {
    if let Some(job) = there_and_back::<Job>(data) {
        let refusal = job.validate().err().map(|refusal| refusal.to_string());
        assert_ne!(refusal.as_deref(), Some(""));
        let _ = (job.digest(), job.keep().of(&[0, 40, 80], 1, 1000));
    }
    if let Some(record) = there_and_back::<ChunkRecord>(data) {
        let _ = record.spec.fingerprint();
    }
    there_and_back::<JobEvent>(data);
    there_and_back::<Status>(data);
    there_and_back::<Manifest>(data);
    there_and_back::<Run>(data);
    there_and_back::<Plan>(data);
    there_and_back::<SliceIndex>(data);
    there_and_back::<OpenMarker>(data);
    there_and_back::<Cancellation>(data);
    there_and_back::<Layout>(data);
    there_and_back::<ResultFooter>(data);
});
