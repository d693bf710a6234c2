//! A text that is drawn into the frames of a job, so that everybody sees what they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Clip, Cut};
use crate::error::Refusal;
use crate::frame::FrameIndex;
use crate::frame::label::{self, Canvas, Place, Wording};

/// Longest text, characters.
const TEXT_MAX: usize = 128;
/// Longest span that can be named: a thousand hours.
const SECONDS_MAX: f64 = 3_600_000.0;

/// A text that is drawn into the frames. White letters with a dark rim, upright as the clip is shown, also where its samples are not
/// square. What is wider than the picture is broken into lines; what does not fit even so is drawn smaller, with a warning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// What it says: at most 128 characters of Latin, Greek, Cyrillic, Chinese, Japanese or Korean.
    pub text: String,
    /// Where it stands; default: in the lower right corner.
    #[serde(default)]
    pub position: Place,
    /// Height of its letters (capitals, or ideographs where there is nothing else) as a share of the shorter side, 0.01 … 0.5; default
    /// 0.05, which is the least that GB 45438-2025 asks for.
    #[serde(default = "usual_height")]
    pub height: f64,
    /// Only in frames that are shown less than so many seconds after the first. Default: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The default of [`Label::height`].
pub fn usual_height() -> f64 {
    0.05
}

impl Label {
    /// Refuses what can be seen to be wrong from the record alone.
    pub(super) fn validate(&self) -> Result<(), Refusal> {
        let Self { text, height, seconds, .. } = self;
        let refuse = |field: &str, found: String, expected: &str| Err(Refusal::new(field, found, expected));
        let length = text.chars().count();
        if length > TEXT_MAX || text.chars().all(char::is_whitespace) {
            return refuse(
                "label.text",
                format!("{length} characters: {text:.40?}"),
                "1 to 128 characters, not only spaces",
            );
        }
        if text.chars().any(char::is_control) {
            return refuse("label.text", format!("{text:.40?}"), "one line without control characters");
        }
        if let Some(character) = label::without_glyph(text) {
            let found = format!("{character:?} (U+{:04X})", u32::from(character));
            return refuse(
                "label.text",
                found,
                "Latin, Greek, Cyrillic, Chinese, Japanese or Korean letters, ready composed",
            );
        }
        if !(0.01..=0.5).contains(height) {
            return refuse("label.height", height.to_string(), "0.01..=0.5 of the shorter side");
        }
        match seconds {
            Some(seconds) if !(*seconds > 0.0 && *seconds <= SECONDS_MAX) => {
                refuse("label.seconds", seconds.to_string(), "more than 0 seconds, and at most 3600000")
            }
            _ => Ok(()),
        }
    }

    /// The height at which it is drawn into pictures of a clip: less than [`Label::height`] where it does not fit. Samples are taken to be square.
    pub fn drawn_height(&self, clip: &Clip) -> f64 {
        let size = (clip.width as usize, clip.height as usize);
        label::drawn_height(&self.wording(), &Canvas { turn: clip.turn, ..Canvas::plain(size) })
    }

    fn wording(&self) -> Wording<'_> {
        Wording { text: &self.text, place: self.position, height: self.height }
    }

    /// What a chunk has to know of it; none if no frame of the chunk bears it.
    pub(super) fn of_chunk(&self, clip: &Clip, cut: &Cut) -> Option<LabelSpec> {
        let until = self.seconds.map(|seconds| frames_within(clip, seconds));
        if until.is_some_and(|until| until <= cut.start) {
            return None;
        }
        Some(LabelSpec {
            text: self.text.clone(),
            position: self.position,
            height: self.height,
            // A chunk that lies wholly before its end is the same as with a label that has none.
            until: until.filter(|until| *until < cut.end),
            mirrored: clip.mirrored,
            drawing: label::DRAWING,
        })
    }
}

/// Frames of a clip that are shown less than so many seconds after its first.
fn frames_within(clip: &Clip, seconds: f64) -> FrameIndex {
    let first = clip.pts.first().copied().unwrap_or(0);
    let (num, den) = (f64::from(clip.time_base.num), f64::from(clip.time_base.den));
    // One division, so that times that are a whole number of seconds come out as such.
    clip.pts.partition_point(|pts| (pts - first) as f64 * num / den < seconds) as FrameIndex
}

/// A label as far as a chunk has to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelSpec {
    /// What it says.
    pub text: String,
    /// Where it stands.
    pub position: Place,
    /// Height of its letters, share of the shorter side.
    pub height: f64,
    /// The first frame of the clip that bears it no more, within the chunk; none if all of the chunk's do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<FrameIndex>,
    /// The clip is shown mirrored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
    /// [`label::DRAWING`].
    pub drawing: u32,
}

impl LabelSpec {
    /// Whether a frame of the chunk bears it.
    pub fn is_on(&self, frame: FrameIndex) -> bool {
        self.until.is_none_or(|until| frame < until)
    }

    /// What is to be drawn.
    pub fn wording(&self) -> Wording<'_> {
        Wording { text: &self.text, place: self.position, height: self.height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        serde_json::from_str(r#"{"text":"AI-generated · 人工智能合成"}"#).unwrap()
    }

    /// 250 frames of 30000/1001 a second, the first of them at 7 s.
    fn clip() -> Clip {
        let json = r#"{"format":"mp4","stream":0,"codec":"h264","width":1920,"height":1080,"pixel_format":"yuv420p",
            "time_base":{"num":1,"den":30000},"frame_rate":{"num":30000,"den":1001},"pts":[],"last_duration":1001}"#;
        let clip: Clip = serde_json::from_str(json).unwrap();
        Clip { pts: (0..250).map(|frame| 210_000 + 1001 * frame).collect(), ..clip }
    }

    fn cut(start: FrameIndex, end: FrameIndex) -> Cut {
        Cut { start, end, lo: start, hi: end, ..Cut::STILL }
    }

    #[test]
    fn a_text_is_enough() {
        let label = label();
        label.validate().unwrap();
        assert_eq!((label.position, label.height, label.seconds), (Place::BottomRight, 0.05, None));
        let unknown = serde_json::from_str::<Label>(r#"{"text":"AI","size":3}"#).unwrap_err().to_string();
        assert!(unknown.contains("size"), "{unknown}");
    }

    #[test]
    fn each_refusal_names_its_field() {
        let check = |label: Label, field: &str, part: &str| {
            let refusal = label.validate().expect_err(field);
            assert_eq!(refusal.field, field);
            assert!(refusal.found.contains(part), "{}", refusal.found);
        };
        let text = |text: &str| Label { text: text.to_owned(), ..label() };
        check(text(""), "label.text", "0 characters");
        check(text(" \u{3000} "), "label.text", "3 characters");
        check(text(&"生".repeat(129)), "label.text", "129 characters");
        check(text("AI\ngenerated"), "label.text", "AI\\ngenerated");
        check(text("made by 🤖 alone"), "label.text", "'🤖' (U+1F916)");
        check(text("a\u{202e}b"), "label.text", "U+202E");
        check(text("צילום"), "label.text", "U+05E6");
        for height in [0.0, 0.009, 0.51, f64::NAN, -1.0] {
            check(Label { height, ..label() }, "label.height", "");
        }
        for seconds in [0.0, -2.0, f64::NAN, f64::INFINITY] {
            check(Label { seconds: Some(seconds), ..label() }, "label.seconds", "");
        }
        for good in
            ["生".repeat(128).as_str(), "Wygenerowane przez sztuczną inteligencję", "これはAI生成です", "인공지능 생성"]
        {
            text(good).validate().unwrap();
        }
        Label { seconds: Some(0.001), height: 0.5, ..label() }.validate().unwrap();
    }

    #[test]
    fn seconds_become_frames_and_chunks_behind_them_bear_nothing() {
        let clip = clip();
        let until = |seconds: f64, from: FrameIndex, to: FrameIndex| {
            let label = Label { seconds: Some(seconds), ..label() };
            label.of_chunk(&clip, &cut(from, to)).map(|spec| spec.until)
        };
        assert_eq!(until(2.0, 0, 250), Some(Some(60)), "frame 60 is shown at 2.002 s");
        assert_eq!(until(1.001, 0, 250), Some(Some(30)), "frame 30 is shown at 1.001 s");
        assert_eq!(until(0.001, 0, 250), Some(Some(1)), "the first always bears it");
        assert_eq!(until(2.0, 0, 60), Some(None));
        assert_eq!(until(2.0, 59, 61), Some(Some(60)));
        assert_eq!(until(2.0, 60, 120), None);
        assert_eq!(until(9.0, 60, 250), Some(None), "longer than the clip");
        let always = label().of_chunk(&clip, &cut(60, 120));
        assert_eq!(always, Label { seconds: Some(9.0), ..label() }.of_chunk(&clip, &cut(60, 120)), "the same result");
        let spec = Label { seconds: Some(2.0), ..label() }.of_chunk(&clip, &cut(0, 250)).unwrap();
        assert!(spec.is_on(59) && !spec.is_on(60) && always.unwrap().is_on(119));
        assert!(label().of_chunk(&Clip { mirrored: true, ..clip.clone() }, &cut(0, 9)).unwrap().mirrored);
    }

    #[test]
    fn what_does_not_fit_is_known_before_it_is_drawn() {
        let clip = clip();
        assert_eq!(label().drawn_height(&clip), 0.05);
        let long = Label { text: "合".repeat(128), height: 0.2, ..label() };
        let drawn = long.drawn_height(&clip);
        assert!((0.05..0.15).contains(&drawn), "{drawn}");
    }
}
