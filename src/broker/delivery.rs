//! A record as it arrives: parsed or malformed, with where it came from.

use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use serde::de::DeserializeOwned;

use super::claim::Claim;
use crate::json;

/// Header names and values in the order in which they were sent.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A value that is not what the topic carries. It is delivered, so that its partition can go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Malformed {
    /// What was expected and found, with the field's name where there is one.
    pub error: String,
}

/// One record.
#[derive(Debug)]
pub struct Delivery<T, C = Claim> {
    pub record: Result<T, Malformed>,
    /// The value as it came; `None` for a record without one (a tombstone).
    pub payload: Option<Vec<u8>>,
    /// `None` also where the key is not UTF-8.
    pub key: Option<String>,
    /// Its bare name.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// When it was produced, in milliseconds since 1970.
    pub timestamp: Option<i64>,
    pub headers: Headers,
    /// The right to finish it; `()` for a reader, which finishes nothing.
    pub claim: C,
}

impl<T: DeserializeOwned, C> Delivery<T, C> {
    /// `topic`: the bare name.
    pub(super) fn decode(message: &BorrowedMessage<'_>, topic: &str, claim: C) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
        });
        Self {
            record: parse(message.payload()),
            payload: message.payload().map(<[u8]>::to_vec),
            key: message.key().and_then(|key| String::from_utf8(key.to_vec()).ok()),
            topic: topic.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            headers: headers.unwrap_or_default(),
            claim,
        }
    }
}

fn parse<T: DeserializeOwned>(payload: Option<&[u8]>) -> Result<T, Malformed> {
    let Some(bytes) = payload else {
        return Err(Malformed { error: "record has no value (expected JSON)".into() });
    };
    json::only(bytes).map_err(|error| Malformed { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Job {
        job: String,
    }

    #[test]
    fn what_cannot_be_parsed_names_the_field() {
        assert_eq!(parse::<Job>(Some(br#"{"job":"a"}"#)), Ok(Job { job: "a".into() }));
        let table: [(Option<&[u8]>, &str); 6] = [
            (Some(br#"{"jbo":"a"}"#), "`jbo`"),
            (Some(br#"{}"#), "`job`"),
            (Some(br#"{"job":7}"#), "job: invalid type: integer `7`"),
            (Some(br#"{"job":"a"} {}"#), "trailing characters"),
            (Some(b"\xff\xfe"), "expected value"),
            (None, "no value"),
        ];
        for (payload, expected) in table {
            let malformed = parse::<Job>(payload).unwrap_err();
            assert!(malformed.error.contains(expected), "{} lacks {expected}", malformed.error);
        }
    }
}
