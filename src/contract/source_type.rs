//! What kind of media an output is, in IPTC's words.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the terms are published.
const VOCABULARY: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/";

/// A term of IPTC's vocabulary "Digital Source Type", as C2PA and XMP carry it. Displayed as its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DigitalSourceType {
    /// A picture of the world, enhanced by an algorithm.
    AlgorithmicallyEnhanced,
    /// Several elements, of which at least one is synthetic.
    CompositeSynthetic,
    /// A picture of the world with parts that a trained network has made.
    CompositeWithTrainedAlgorithmicMedia,
}

impl fmt::Display for DigitalSourceType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(VOCABULARY)?;
        self.serialize(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_as_iptc_writes_them() {
        assert_eq!(
            DigitalSourceType::CompositeWithTrainedAlgorithmicMedia.to_string(),
            "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
        );
    }
}
