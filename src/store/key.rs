//! Which keys are good on a file system and on S3 alike.

use super::StoreError;

/// Files being written begin with this; no object does.
pub(super) const TEMPORARY: &str = ".tmp-";
/// S3 takes 1,024 bytes; the prefix needs some.
const MAX_KEY: usize = 900;
/// What file systems take.
const MAX_SEGMENT: usize = 255;

pub(super) fn validate(key: &str) -> Result<(), StoreError> {
    let bad = |reason| Err(StoreError::BadKey { key: key.to_owned(), reason });
    if key.is_empty() || key.len() > MAX_KEY {
        return bad("expected 1 to 900 bytes");
    }
    if key.chars().any(|letter| letter.is_control() || letter == '\\') {
        return bad("expected no control characters and no backslash");
    }
    for segment in key.split('/') {
        match segment {
            "" => return bad("expected no empty segment, neither at the beginning nor at the end"),
            "." | ".." => return bad("expected no . or .. segment"),
            _ if segment.starts_with(TEMPORARY) => return bad("expected no segment beginning with .tmp-"),
            _ if segment.len() > MAX_SEGMENT => return bad("expected segments of at most 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_keys() {
        let long = "a/".repeat(460);
        let long_segment = "a".repeat(256);
        let table = [
            ("jobs/j-1/job.json", true),
            ("a", true),
            ("a b/ü+%2F=?.ts", true),
            (".hidden/..x", true),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            ("a/../b", false),
            ("..", false),
            ("./a", false),
            ("a\\b", false),
            ("a\0b", false),
            ("a/.tmp-1", false),
            (&long, false),
            (&long_segment, false),
        ];
        for (key, is_good) in table {
            assert_eq!(validate(key).is_ok(), is_good, "{key:?}");
        }
    }
}
