//! A file that a job names.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::LocationError;

/// `file:///path` or `s3://bucket/key`.
///
/// A `file` URL is percent-encoded as RFC 8089 has it (`%20`; a bare space is accepted too); an `s3` one is not, as is the
/// custom there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// An absolute path.
    File(PathBuf),
    S3 {
        bucket: String,
        /// May end with `/` or be empty where a prefix is meant.
        key: String,
    },
}

impl Location {
    /// # Errors
    /// [`LocationError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let bad = |reason| LocationError::Malformed { text: text.to_owned(), reason };
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            let is_bucket_letter = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
            if bucket.len() < 3 || bucket.len() > 63 || !bucket.chars().all(is_bucket_letter) {
                return Err(bad("the bucket's name is not 3 to 63 letters, digits, - . or _"));
            }
            if key.len() > 1024 || key.chars().any(char::is_control) {
                return Err(bad("the key is longer than 1024 bytes or has control characters"));
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() });
        }
        let Some(rest) = text.strip_prefix("file://") else { return Err(bad("unknown kind of location")) };
        let encoded = rest.strip_prefix("localhost/").map_or(rest, |_| &rest["localhost".len()..]);
        if !encoded.starts_with('/') {
            return Err(bad("the path does not begin with /"));
        }
        let path = decode(encoded).ok_or_else(|| bad("a % without two hexadecimal digits"))?;
        if path.contains(&0) {
            return Err(bad("the path has a zero byte"));
        }
        Ok(Self::File(PathBuf::from(OsString::from_vec(path))))
    }

    /// A location that a job reads or writes: one object, whatever client is asked for it.
    ///
    /// # Errors
    /// [`LocationError::Malformed`] also for a key that is empty, ends with `/`, or has a part that is empty, `.` or `..`: clients and
    /// proxies make other keys of these.
    pub fn of_object(text: &str) -> Result<Self, LocationError> {
        let location = Self::parse(text)?;
        let Self::S3 { key, .. } = &location else { return Ok(location) };
        match key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            true => Err(LocationError::Malformed {
                text: text.to_owned(),
                reason: "the key is empty, or a part between its / is empty, . or ..",
            }),
            false => Ok(location),
        }
    }

    /// A folder that a job reads or writes: it ends with `/`.
    ///
    /// # Errors
    /// [`LocationError::Malformed`], also as [`Location::of_object`].
    pub fn of_folder(text: &str) -> Result<Self, LocationError> {
        let bad = |reason| Err(LocationError::Malformed { text: text.to_owned(), reason });
        if !text.ends_with('/') {
            return bad("a folder ends with /");
        }
        let location = Self::parse(text)?;
        let Self::S3 { key, .. } = &location else { return Ok(location) };
        match key.strip_suffix('/') {
            Some(key) if key.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                bad("a part of the key between its / is empty, . or ..")
            }
            _ => Ok(location),
        }
    }

    /// The name of the file, or the last part of the key.
    pub fn name(&self) -> &str {
        match self {
            Self::File(path) => path.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            Self::S3 { key, .. } => key.rsplit('/').next().unwrap_or_default(),
        }
    }

    /// The file beside this one, of the same name but for its extension.
    pub fn with_extension(&self, extension: &str) -> Self {
        match self {
            Self::File(path) => Self::File(path.with_extension(extension)),
            Self::S3 { bucket, key } => {
                let (folder, name) = key.rsplit_once('/').map_or(("", key.as_str()), |(folder, name)| (folder, name));
                let name = Path::new(name).with_extension(extension).display().to_string();
                let slash = if folder.is_empty() { "" } else { "/" };
                Self::S3 { bucket: bucket.clone(), key: format!("{folder}{slash}{name}") }
            }
        }
    }

    /// The file of this name in the folder that this location is.
    pub fn file_in(&self, name: &str) -> Self {
        match self {
            Self::File(folder) => Self::File(folder.join(name)),
            Self::S3 { bucket, key } => Self::S3 { bucket: bucket.clone(), key: format!("{key}{name}") },
        }
    }

    /// The location of a local file.
    ///
    /// # Errors
    /// [`LocationError::Malformed`] where `path` is not absolute.
    pub fn file(path: &Path) -> Result<Self, LocationError> {
        if !path.is_absolute() {
            let text = path.display().to_string();
            return Err(LocationError::Malformed { text, reason: "the path does not begin with /" });
        }
        Ok(Self::File(path.to_owned()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::File(path) => {
                f.write_str("file://")?;
                for byte in path.as_os_str().as_bytes() {
                    // RFC 3986, path: unreserved, sub-delims, ":", "@" and "/".
                    let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte);
                    if is_plain { write!(f, "{}", char::from(*byte))? } else { write!(f, "%{byte:02X}")? }
                }
                Ok(())
            }
        }
    }
}

fn decode(encoded: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        let is_escape = byte == b'%';
        if !is_escape {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        decoded.extend(hex::decode(digits).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_shows() {
        let table = [
            ("file:///a/b.mp4", "file:///a/b.mp4"),
            ("file:///a b/ü.mp4", "file:///a%20b/%C3%BC.mp4"),
            ("file:///a%20b%25.mp4", "file:///a%20b%25.mp4"),
            ("file:///%ff", "file:///%FF"),
            ("file://localhost/a", "file:///a"),
            ("s3://factory/a b%20.mp4", "s3://factory/a b%20.mp4"),
            ("s3://factory//odd", "s3://factory//odd"),
            ("s3://factory", "s3://factory/"),
        ];
        for (text, shown) in table {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.to_string(), shown);
            assert_eq!(Location::parse(shown).unwrap(), location, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_neither() {
        let table = [
            "",
            "a.mp4",
            "/a.mp4",
            "http://host/a",
            "file:a",
            "file://host/a",
            "file://a",
            "file:///a%2",
            "file:///a%zz",
            "file:///a%00",
            "s3://",
            "s3://x/a",
            "s3://bu cket/a",
            "s3://bucket/a\nb",
        ];
        for text in table {
            assert!(Location::parse(text).is_err(), "{text:?}");
        }
        assert!(Location::file(Path::new("a/b")).is_err());
        assert!(Location::parse(&format!("s3://bucket/{}", "k".repeat(1024))).is_ok());
        assert!(Location::parse(&format!("s3://bucket/{}", "k".repeat(1025))).is_err());
        assert!(Location::parse("s3://bucket/a\0b").is_err());
    }

    #[test]
    fn a_jobs_object_has_a_plain_key() {
        for text in ["file:///a/../b.mp4", "s3://bucket/a.mp4", "s3://bucket/a/b..c/.d", "s3://bucket/a b"] {
            assert!(Location::of_object(text).is_ok(), "{text}");
        }
        for text in [
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket/a/",
            "s3://bucket//a",
            "s3://bucket/../a",
            "s3://bucket/a/./b",
            "a",
        ] {
            let refused = Location::of_object(text).unwrap_err();
            assert!(matches!(&refused, LocationError::Malformed { text: found, .. } if found == text), "{refused}");
        }
    }

    #[test]
    fn a_folder_ends_with_a_slash_and_has_files() {
        for (text, file) in [
            ("s3://bucket/", "s3://bucket/a b%.png"),
            ("s3://bucket/a/b/", "s3://bucket/a/b/a b%.png"),
            ("file:///a/", "file:///a/a%20b%25.png"),
            ("file:///", "file:///a%20b%25.png"),
        ] {
            let folder = Location::of_folder(text).unwrap();
            assert_eq!(folder.to_string(), text);
            let found = folder.file_in("a b%.png");
            assert_eq!(found.to_string(), file);
            assert_eq!(Location::of_object(file).unwrap(), found);
        }
        for text in ["s3://bucket", "s3://bucket/a", "file:///a", "s3://bucket//", "s3://bucket/a//", "s3://bucket/../"]
        {
            let refused = Location::of_folder(text).unwrap_err();
            assert!(matches!(&refused, LocationError::Malformed { text: found, .. } if found == text), "{refused}");
        }
    }
}
