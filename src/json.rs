//! JSON that others have written: whatever is wrong with it, the message names the field.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Deserializer;
use serde_json::de::Read;

/// Reads bytes that are one value and nothing else.
///
/// # Errors
/// What was expected and found, and where.
pub fn only<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut json = Deserializer::from_slice(bytes);
    let value = next(&mut json)?;
    json.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Reads the next of several values.
///
/// # Errors
/// As [`only`].
pub fn next<'de, T: Deserialize<'de>, R: Read<'de>>(json: &mut Deserializer<R>) -> Result<T, String> {
    serde_path_to_error::deserialize(json).map_err(|error| told(&error.path().to_string(), error.inner().to_string()))
}

/// The message with the field's path before it, unless it names the field itself: an unknown one, or one whose own rules say what is wrong.
fn told(path: &str, problem: String) -> String {
    let is_named = |field: &str| {
        problem.contains(&format!("unknown field `{field}`")) || problem.starts_with(&format!("{field}: "))
    };
    // `.` is the value as a whole, `?` a field whose name was not read.
    let path = path.trim_end_matches('?').trim_end_matches('.');
    let place = match path.rsplit_once('.') {
        _ if is_named(path) => "",
        Some((within, field)) if is_named(field) => within,
        _ => path,
    };
    if place.is_empty() { problem } else { format!("{place}: {problem}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Job;

    #[test]
    fn what_is_wrong_names_its_field_once() {
        let job =
            |rest: &str| format!(r#"{{"job":"a","sources":[],"target":"s3://b/t.mp4","output":"s3://b/o.mp4"{rest}}}"#);
        only::<Job>(job("").as_bytes()).unwrap();
        #[rustfmt::skip]
        let table = [
            // The whole, or its beginning.                   what it says at first
            (r#"{"job": 7}"#.to_owned(),                      "job: invalid type: integer `7`"),
            (r#"{"job": "No"}"#.to_owned(),                   "job: \"No\" (expected"),
            (r#"{"job": "a", "sources": ["x", 2]}"#.to_owned(), "sources[1]: invalid type: integer `2`"),
            (r#"{"job": "a", "target": 7}"#.to_owned(),       "target: invalid type: integer `7`"),
            (job(r#","chunk_frames":"64""#),                  "chunk_frames: invalid type: string \"64\""),
            (job(r#","video":{"crf":"x"}"#),                  "video.crf: invalid type: string \"x\""),
            (job(r#","video":{"crff":1}"#),                   "video: unknown field `crff`"),
            (job(r#","vdeo":{}"#),                            "unknown field `vdeo`"),
            (r#"{"job": "a"}"#.to_owned(),                    "missing field `sources`"),
            (job("") + "x",                                   "trailing characters"),
            ("{".to_owned(),                                  "EOF while parsing"),
            (r#"{"job": "a", "video": {"#.to_owned(),         "video: EOF while parsing"),
        ];
        for (text, expected) in table {
            let problem = only::<Job>(text.as_bytes()).unwrap_err();
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn one_after_the_other() {
        let mut json = Deserializer::from_str("1 2\n\"3\"");
        assert_eq!([next(&mut json), next(&mut json)], [Ok(1), Ok(2)]);
        assert!(next::<u32, _>(&mut json).unwrap_err().starts_with("invalid type: string \"3\""));
    }
}
