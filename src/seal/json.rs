//! JSON objects that can be checked by themselves: their last field is the digest of the rest.
//!
//! A changed digit in a plan still parses, and would give wrong times without a word.
//!
//! ```text
//! {"a":1}  is kept as  {"a":1,"object_sha256":"<digest of {"a":1}>"}
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::contract::Digest;

const FIELD: &str = r#","object_sha256":""#;
const END: &str = r#""}"#;
/// From the field's comma to the end, bytes.
const SEAL: usize = FIELD.len() + 64 + END.len();

/// A value as it is kept. What is no object, or an empty one, is kept as it is.
///
/// # Errors
/// Those of `serde_json`.
pub fn to_json<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    if bytes.len() > 2 && bytes.starts_with(b"{") {
        let digest = Digest::of(&bytes);
        bytes.pop();
        bytes.extend(format!("{FIELD}{digest}{END}").bytes());
    }
    Ok(bytes)
}

/// The value that was kept. One without a digest is taken as it is: versions before this one have written such objects.
///
/// # Errors
/// It is not what the digest says, or not the JSON of a `T`; as text.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let parsed = match sealed(bytes) {
        None => serde_json::from_slice(bytes),
        Some((mut object, expected)) => {
            object.push(b'}');
            let found = Digest::of(&object).to_string();
            if found.as_bytes() != expected {
                return Err(format!("its sha256 is {found}, expected {}", String::from_utf8_lossy(expected)));
            }
            serde_json::from_slice(&object)
        }
    };
    parsed.map_err(|error| error.to_string())
}

/// The object without its last brace, and the digest that it should have.
fn sealed(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (object, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL)?)?;
    let digest = seal.strip_prefix(FIELD.as_bytes())?.strip_suffix(END.as_bytes())?;
    Some((object.to_vec(), digest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::contract::Cancellation;

    #[test]
    fn what_was_written_is_read() {
        for text in [r#"{"at":7,"b":[{}]}"#, "{}", r#""said""#, "null", "[1]", "7"] {
            let value: Value = serde_json::from_str(text).unwrap();
            let bytes = to_json(&value).unwrap();
            assert_eq!(from_json::<Value>(&bytes), Ok(value.clone()), "{text}");
            assert_eq!(from_json::<Value>(text.as_bytes()), Ok(value), "{text} of an earlier version");
            serde_json::from_slice::<Value>(&bytes).expect("it is JSON for others, too");
        }
    }

    #[test]
    fn no_changed_bit_goes_unseen() {
        let value = BTreeMap::from([("start", 1_234_567), ("end", 7_654_321)]);
        let whole = to_json(&value).unwrap();
        for bit in 0..8 * whole.len() {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let read = from_json::<BTreeMap<String, Value>>(&changed);
            // In the name of the field the object itself is whole.
            let is_whole = |read: BTreeMap<String, Value>| value.iter().all(|(name, value)| read[*name] == *value);
            assert!(read.is_err() || read.is_ok_and(is_whole), "bit {bit}: {:?}", String::from_utf8_lossy(&changed));
        }
        let short = from_json::<Cancellation>(&to_json(&Cancellation { at: 7 }).unwrap()[1..]);
        short.unwrap_err();
    }
}
