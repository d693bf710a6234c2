//! A text in the frames: options of `facemill swap`.

use clap::Args;

use crate::contract::{Label, usual_height};
use crate::frame::label::Place;

/// A text in the frames.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// A text that is drawn into the frames, e.g. "AI-generated" or "AI生成" (Latin, Greek, Cyrillic, Chinese, Japanese, Korean); what is
    /// wider than the picture is broken into lines [default: none]
    #[arg(long, value_name = "TEXT", help_heading = "Output")]
    pub label: Option<String>,
    /// Where it stands: top-left, top, top-right, centre, bottom-left, bottom, bottom-right, as the clip is shown
    #[arg(long, default_value = "bottom-right", value_name = "PLACE", value_parser = place, requires = "label", help_heading = "Output")]
    pub label_position: Place,
    /// Height of its letters, share of the shorter side
    #[arg(long, default_value_t = usual_height(), value_name = "0.01..0.5", value_parser = height, requires = "label", help_heading = "Output")]
    pub label_height: f64,
    /// Only for so many seconds from the first frame on [default: in all frames]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "label", help_heading = "Output")]
    pub label_seconds: Option<f64>,
}

impl From<&LabelArgs> for Option<Label> {
    fn from(args: &LabelArgs) -> Self {
        let LabelArgs { label, label_position: position, label_height: height, label_seconds: seconds } = args;
        label.clone().map(|text| Label { text, position: *position, height: *height, seconds: *seconds })
    }
}

fn place(name: &str) -> Result<Place, String> {
    serde_json::from_value(name.into())
        .map_err(|_| "expected one of: top-left, top, top-right, centre, bottom-left, bottom, bottom-right".to_owned())
}

fn height(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.01..=0.5).contains(share));
    share.ok_or_else(|| "expected 0.01..=0.5, a share of the shorter side".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
    seconds.ok_or_else(|| "expected more than 0 seconds, as in 5 or 2.5".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn label(more: &str) -> Option<Label> {
        let line = format!("facemill swap -s a.jpg -t b.mp4 -o c.mp4 {more}");
        match Cli::try_parse_from(line.split_whitespace()).ok()?.command {
            Command::Swap(swap) => (&swap.label).into(),
            _ => None,
        }
    }

    #[test]
    fn a_label_is_off_unless_it_says_something() {
        assert_eq!(label(""), None);
        let usual = Label { text: "AI生成".into(), position: Place::BottomRight, height: 0.05, seconds: None };
        assert_eq!(label("--label AI生成"), Some(usual.clone()));
        let other = Label { position: Place::TopLeft, height: 0.1, seconds: Some(2.5), ..usual };
        assert_eq!(
            label("--label AI生成 --label-position top-left --label-height 0.1 --label-seconds 2.5"),
            Some(other)
        );
        for bad in ["--label-height 0.1", "--label-seconds 3", "--label-position top"] {
            let alone = format!("facemill swap -s a.jpg -t b.mp4 -o c.mp4 {bad}");
            assert!(Cli::try_parse_from(alone.split_whitespace()).is_err(), "{bad} says nothing without a text");
        }
        for bad in [
            "--label-height 0.6",
            "--label-height 5%",
            "--label-seconds 0",
            "--label-seconds -1",
            "--label-position left",
        ] {
            assert_eq!(label(&format!("--label AI {bad}")), None, "{bad}");
        }
    }
}
