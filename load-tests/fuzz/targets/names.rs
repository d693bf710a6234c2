//! What is parsed from text: moments, ids, digests and locations are the same after they have been text once more.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use facemill_fuzz::contract::{Digest, JobId, Keep, Moment};
use facemill_fuzz::store::Location;
use libfuzzer_sys::fuzz_target;

fn there_and_back<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let read: T = text.parse().ok()?;
    assert_eq!(read.to_string().parse().ok().as_ref(), Some(&read), "{text}");
    Some(read)
}

fuzz_target!(|text: &str| {
    if let Some(moment) = there_and_back::<Moment>(text) {
        let pts = [-40, 0, 40, 1_000_000];
        for keep in [Keep { start: Some(moment), ..Keep::default() }, Keep { end: Some(moment), ..Keep::default() }] {
            let kept = keep.of(&pts, 1, 90_000);
            assert!(kept.start <= kept.end && kept.end <= pts.len());
        }
    }
    there_and_back::<JobId>(text);
    let _: Result<Digest, _> = serde_json::from_value(serde_json::Value::from(text));
    if let Ok(location) = Location::parse(text) {
        assert_eq!(Location::parse(&location.to_string()).ok(), Some(location), "{text}");
    }
});
