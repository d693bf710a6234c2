//! The label of generated content that GB 45438-2025 wants in a file's metadata: a JSON object under the name `AIGC`.
//!
//! Sources: GB 45438-2025, annexes E and F; the practice guides TC260-PG-20257A (video) and TC260-PG-20259A (pictures), 2025-08.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Found;

/// Longest code, bytes. The standard names no limit.
const CODE_MAX: usize = 256;
/// Longest label that is read, bytes.
pub const LABEL_MAX: usize = 16 * 1024;
/// The content is generated (and not perhaps, "2", or by suspicion, "3").
const IS_GENERATED: &str = "1";

/// What a label begins with, as everybody writes it.
pub(super) const BEGINNING: &[u8] = b"{\"Label\":";
/// Fields of which it has at least one: much has a label.
const TELLING: [&str; 2] = ["ContentProducer", "ProduceID"];

/// Who made a file and under which number, who spread it and under which. Each file carries one label only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aigc {
    /// Name or code of the service that made the content.
    pub producer: Code,
    /// The producer's number of this content.
    pub produce_id: Code,
    /// Name or code of the service that spreads the content; none until one does.
    pub propagator: Option<Code>,
    /// The propagator's number of this content.
    pub propagate_id: Option<Code>,
}

/// A name or a number in the label: 1 to 256 printable ASCII characters but the space, `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(String);

/// Why a text is no [`Code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is {found:.80?} (expected 1 to {CODE_MAX} printable ASCII characters but the space, quotation mark and backslash)"
)]
pub struct CodeError {
    found: String,
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        match (1..=CODE_MAX).contains(&text.len()) && text.bytes().all(is_allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(CodeError { found: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for Code {
    type Error = CodeError;

    fn try_from(text: String) -> Result<Self, CodeError> {
        text.parse()
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0
    }
}

impl Code {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// The label's seven fields, in the standard's order; all of them strings.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Label<'a> {
    label: &'a str,
    content_producer: &'a str,
    #[serde(rename = "ProduceID")]
    produce_id: &'a str,
    /// For what secures the label, which C2PA does here.
    reserved_code1: &'a str,
    content_propagator: &'a str,
    #[serde(rename = "PropagateID")]
    propagate_id: &'a str,
    reserved_code2: &'a str,
}

impl Aigc {
    /// The label as JSON, without spaces.
    pub fn json(&self) -> String {
        let label = Label {
            label: IS_GENERATED,
            content_producer: self.producer.as_str(),
            produce_id: self.produce_id.as_str(),
            reserved_code1: "",
            content_propagator: self.propagator.as_ref().map_or("", Code::as_str),
            propagate_id: self.propagate_id.as_ref().map_or("", Code::as_str),
            reserved_code2: "",
        };
        serde_json::to_string(&label).expect("strings under names become JSON")
    }
}

/// What a label says that stands by itself.
pub(super) fn read(label: &[u8]) -> Found {
    let fields: Option<serde_json::Map<_, _>> = serde_json::from_slice(label).ok();
    let is_label = fields.is_some_and(|fields| TELLING.iter().any(|field| fields.contains_key(*field)));
    let text = std::str::from_utf8(label).ok().filter(|text| is_label && text.len() <= LABEL_MAX);
    Found { aigc: text.map(str::to_owned), ..Found::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_seven_fields_in_order() {
        let code = |text: &str| text.parse::<Code>().unwrap();
        let mut aigc =
            Aigc { producer: code("Studio"), produce_id: code("job-7/1"), propagator: None, propagate_id: None };
        let before =
            "{\"Label\":\"1\",\"ContentProducer\":\"Studio\",\"ProduceID\":\"job-7/1\",\"ReservedCode1\":\"\",";
        let expected = format!("{before}\"ContentPropagator\":\"\",\"PropagateID\":\"\",\"ReservedCode2\":\"\"}}");
        assert_eq!(aigc.json(), expected);
        (aigc.propagator, aigc.propagate_id) = (Some(code("001191")), Some(code("<&>")));
        let expected =
            format!("{before}\"ContentPropagator\":\"001191\",\"PropagateID\":\"<&>\",\"ReservedCode2\":\"\"}}");
        assert_eq!(aigc.json(), expected);
    }

    #[test]
    fn codes_are_what_the_standard_allows() {
        for (text, is_code) in [
            ("A", true),
            ("!~#$%&'()*+,-./:;<=>?@[]^_`{|}", true),
            ("", false),
            ("two words", false),
            ("say\"so", false),
            ("back\\slash", false),
            ("Größe", false),
            ("line\n", false),
        ] {
            assert_eq!(text.parse::<Code>().is_ok(), is_code, "{text:?}");
        }
        assert!("x".repeat(CODE_MAX).parse::<Code>().is_ok());
        let refused = "x".repeat(CODE_MAX + 1).parse::<Code>().unwrap_err().to_string();
        assert!(refused.contains("expected 1 to 256 printable"), "{refused}");
    }
}
