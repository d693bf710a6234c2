//! What is known about a clip once it has been read through: everything that planning, cutting, encoding and joining need.

use serde::{Deserialize, Serialize};

use super::{Digest, Hdr};
use crate::frame::{FrameIndex, Turn};

/// A fraction, e.g. a time base in seconds per tick or a rate in frames per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ratio {
    /// Numerator.
    pub num: i32,
    /// Denominator.
    pub den: i32,
}

/// The video stream of a clip, as read in one pass over its packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    /// Short name of the container as FFmpeg knows it, e.g. `mov,mp4,m4a,3gp,3g2,mj2`.
    pub format: String,
    /// Index of the video stream in the container.
    pub stream: usize,
    /// FFmpeg's name of the codec, e.g. `h264`.
    pub codec: String,
    /// Coded picture width, pixels, before rotation and sample aspect ratio.
    pub width: u32,
    /// Coded picture height, pixels.
    pub height: u32,
    /// FFmpeg's name of the pixel format, e.g. `yuv420p`.
    pub pixel_format: String,
    /// Seconds per tick of every time below.
    pub time_base: Ratio,
    /// Average frames per second, as the container says; (0, 1) if it does not.
    pub frame_rate: Ratio,
    /// Presentation time of every shown frame, in display order, strictly increasing, ticks.
    pub pts: Vec<i64>,
    /// How long the last frame is shown, ticks.
    pub last_duration: i64,
    /// Presentation time of every packet in decode order, ticks, where the container's own are missing, double, or of a clock that
    /// starts anew; else none, and the container's count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packet_pts: Vec<i64>,
    /// Where the container's clock starts anew: what is added to its times from then on, beside what was added before, ticks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<i64>,
    /// For which screen it was made, where its dynamic range is high and it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdr: Option<Hdr>,
    /// Numbers of the packets that are decoded and never shown (edit lists), in decode order from 0, increasing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<u64>,
    /// The file ends before its container says, and the other streams end with the last frame here, if not before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Number of the first packet that is not in the file, since it was cut off, in decode order from 0: another frame stands in for
    /// its own, and for those after it. `packet_pts` says when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_from: Option<u64>,
    /// How players turn the picture, as the container's display matrix says.
    #[serde(default, skip_serializing_if = "Turn::is_none")]
    pub turn: Turn,
    /// Whether players mirror what they have turned, left to right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
    /// The frames of a folder of stills, each with a size and a format of its own; none in any other clip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stills: Vec<Still>,
}

/// One still of a folder. What is made of it is what would be made of it alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Still {
    /// Its name in the folder, and in that of the output.
    pub name: String,
    /// Digest of its file.
    pub digest: Digest,
    /// What it is by itself: a clip of one frame.
    pub clip: Clip,
}

impl Clip {
    /// The stills of a folder, one after the other.
    pub fn of_stills(stills: Vec<Still>) -> Self {
        let largest = |side: fn(&Clip) -> u32| stills.iter().map(|still| side(&still.clip)).max().unwrap_or(0);
        Self {
            format: "folder".to_owned(),
            stream: 0,
            codec: "stills".to_owned(),
            width: largest(|clip| clip.width),
            height: largest(|clip| clip.height),
            pixel_format: "mixed".to_owned(),
            time_base: Ratio { num: 1, den: 25 },
            frame_rate: Ratio { num: 25, den: 1 },
            pts: (0..stills.len() as i64).collect(),
            last_duration: 1,
            packet_pts: Vec::new(),
            restarts: Vec::new(),
            hdr: None,
            hidden: Vec::new(),
            truncated: false,
            lost_from: None,
            turn: Turn::None,
            mirrored: false,
            stills,
        }
    }

    /// Whether its frames are the stills of a folder.
    pub fn is_folder(&self) -> bool {
        !self.stills.is_empty()
    }

    /// Number of shown frames.
    pub fn frames(&self) -> FrameIndex {
        self.pts.len() as FrameIndex
    }

    /// Seconds from the first frame's start to the last one's end.
    pub fn seconds(&self) -> f64 {
        let (Some(first), Some(last)) = (self.pts.first(), self.pts.last()) else { return 0.0 };
        (last + self.last_duration - first) as f64 * f64::from(self.time_base.num) / f64::from(self.time_base.den)
    }
}

/// One packet of the video stream, in decode order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    /// Presentation time, ticks.
    pub pts: i64,
    /// Decoding can start here.
    pub key: bool,
    /// It can, but pictures become whole only by and by, until the next of its kind (H.264's intra refresh).
    pub gradual: bool,
    /// Decoded but never shown (edit lists).
    pub hidden: bool,
}

/// Which frames and packets one chunk takes from its clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// First frame of the chunk.
    pub start: FrameIndex,
    /// One past the last frame of the chunk.
    pub end: FrameIndex,
    /// First frame that the computation looks at: `start` less the pre-roll.
    pub lo: FrameIndex,
    /// One past the last frame that the computation looks at: `end` plus the post-roll.
    pub hi: FrameIndex,
    /// First packet of the slice, counted in decode order from the clip's first: a keyframe.
    pub first_packet: u64,
    /// Last packet of the slice, inclusive.
    pub last_packet: u64,
    /// Subtracted from every time in the slice, so that none is negative: the smallest PTS among its packets.
    pub base_pts: i64,
}

impl Cut {
    /// Of a still: all of it.
    pub const STILL: Self = Self { start: 0, end: 1, lo: 0, hi: 1, first_packet: 0, last_packet: 0, base_pts: 0 };

    /// Of the still that is frame `number` of its folder: each is looked at by itself.
    pub fn of_still(number: FrameIndex) -> Self {
        let (start, end) = (number, number + 1);
        Self { start, end, lo: start, hi: end, first_packet: start, last_packet: start, base_pts: number as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As versions that knew no folders wrote it: plans are found again.
    const CLIP: &str = r#"{"format":"png","stream":0,"codec":"still","width":8,"height":6,"pixel_format":"bgr0","time_base":{"num":1,"den":25},"frame_rate":{"num":25,"den":1},"pts":[0],"last_duration":1}"#;

    #[test]
    fn a_clip_that_is_no_folder_is_written_as_before() {
        let clip: Clip = serde_json::from_str(CLIP).unwrap();
        assert!(!clip.is_folder());
        assert_eq!(serde_json::to_string(&clip).unwrap(), CLIP);
    }

    #[test]
    fn a_folder_is_as_large_as_its_largest_still() {
        let clip: Clip = serde_json::from_str(CLIP).unwrap();
        let still = |name: &str, width| Still {
            name: name.into(),
            digest: Digest::of(name.as_bytes()),
            clip: Clip { width, ..clip.clone() },
        };
        let folder = Clip::of_stills(vec![still("a", 8), still("b", 9), still("c", 2)]);
        assert_eq!((folder.frames(), folder.width, folder.height), (3, 9, 6));
        let written = serde_json::to_string(&folder).unwrap();
        assert_eq!(serde_json::from_str::<Clip>(&written).unwrap(), folder);
        assert_eq!(Cut::of_still(0), Cut::STILL);
        assert_eq!((Cut::of_still(2).start, Cut::of_still(2).hi), (2, 3));
    }
}
