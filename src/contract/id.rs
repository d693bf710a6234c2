//! Names: of jobs, which their producers choose, and of content, which is its SHA-256.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::Refusal;

/// The longest job id, in characters.
const JOB_ID_MAX: usize = 63;

/// A job's name, chosen by its producer: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(#[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,62}$"))] String);

impl JobId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts_well = text.bytes().next().is_some_and(letter);
        if starts_well && text.len() <= JOB_ID_MAX && text.bytes().all(|byte| letter(byte) || byte == b'-') {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Refusal::new("job", format!("{shown:?}"), "1 to 63 of a-z, 0-9 and -, not starting with -"))
    }
}

impl TryFrom<String> for JobId {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of some bytes; written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of a value's canonical JSON: struct fields in the order of their declaration, map keys sorted, no spaces.
    pub fn of_json<T: Serialize>(value: &T) -> Self {
        Self::of(&serde_json::to_vec(value).expect("contract types have string keys and finite numbers"))
    }

    /// Takes the result of a hasher that was fed piece by piece.
    pub fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// The first `digits` hex digits.
    pub fn short(&self, digits: usize) -> String {
        let mut text = self.to_string();
        text.truncate(digits);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let mut bytes = [0; 32];
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if is_lower => Ok(Self(bytes)),
            _ => Err(Refusal::new("sha256", format!("{} characters", text.len()), "64 lower-case hex digits")),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A SHA-256.", "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

/// The partition of a job's records on a topic of `partitions` partitions.
///
/// Ours and not the producer's default partitioner, since `open/<partition>/` in the store must agree with it.
pub fn partition_of(job: &JobId, partitions: i32) -> i32 {
    let digest = Digest::of(job.as_str().as_bytes());
    let hash = u32::from_be_bytes([digest.0[0], digest.0[1], digest.0[2], digest.0[3]]);
    (hash % partitions.max(1) as u32) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_ids() {
        let long = "a".repeat(63);
        for good in ["a", "0", "order-1042-clip-3", long.as_str()] {
            assert_eq!(good.parse::<JobId>().expect(good).as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "A", "a_b", "a/b", "../a", "ä", too_long.as_str()] {
            assert_eq!(bad.parse::<JobId>().expect_err(bad).field, "job");
        }
    }

    #[test]
    fn digests_are_written_as_lower_case_hex() {
        let digest = Digest::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        for bad in ["", "e3", &text.to_uppercase(), &text[1..]] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_job_keeps_its_partition() {
        let job: JobId = "order-1042-clip-3".parse().unwrap();
        assert_eq!(partition_of(&job, 12), partition_of(&job, 12));
        assert!((0..12).contains(&partition_of(&job, 12)));
        assert_eq!(partition_of(&job, 1), 0);
    }
}
