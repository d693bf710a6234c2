//! How a file came to be, in the words of IPTC, which XMP and C2PA share.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the vocabulary lives. Its URIs are names and begin with `http:`.
const VOCABULARY: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/";

/// A term of IPTC's NewsCodes scheme "Digital Source Type" (as of 2024-10), of those that a face swap can be. C2PA 2.x takes all of them.
///
/// They are ordered: where several things are done to a file, the greatest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DigitalSourceType {
    /// Altered by an algorithm that leaves the main content as it is.
    AlgorithmicallyEnhanced,
    /// Put together of several elements, any of which may be made by generative AI or not.
    Composite,
    /// Put together of several elements, of which at least one is made by generative AI.
    CompositeSynthetic,
    /// Changed by a generative model, as by inpainting.
    CompositeWithTrainedAlgorithmicMedia,
}

impl DigitalSourceType {
    /// Every one, in order.
    pub const ALL: [Self; 4] = [
        Self::AlgorithmicallyEnhanced,
        Self::Composite,
        Self::CompositeSynthetic,
        Self::CompositeWithTrainedAlgorithmicMedia,
    ];

    /// The term without its vocabulary, as cards spell it: `compositeSynthetic`.
    pub fn term(self) -> &'static str {
        match self {
            Self::AlgorithmicallyEnhanced => "algorithmicallyEnhanced",
            Self::Composite => "composite",
            Self::CompositeSynthetic => "compositeSynthetic",
            Self::CompositeWithTrainedAlgorithmicMedia => "compositeWithTrainedAlgorithmicMedia",
        }
    }
}

/// The URI.
impl fmt::Display for DigitalSourceType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{VOCABULARY}{}", self.term())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_spells_a_term_as_its_uri_ends() {
        for kind in DigitalSourceType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.term());
            assert!(kind.to_string().ends_with(&format!("/digitalsourcetype/{}", kind.term())), "{kind}");
        }
        assert!(DigitalSourceType::ALL.is_sorted());
    }
}
