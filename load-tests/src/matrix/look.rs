//! What a clip is, as `ffprobe` and `ffmpeg` tell it: the program under test does not judge itself.

mod tell;

use std::cmp::Ordering;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use tell::{Streams, decode, decoded, list, number, probe, subtitles, text};

/// A moment, exactly.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    pub ticks: i64,
    /// Seconds in a tick, as a fraction.
    pub base: (i64, i64),
}

impl Time {
    pub fn seconds(self) -> f64 {
        self.ticks as f64 * self.tick()
    }

    /// Seconds in a tick.
    pub fn tick(self) -> f64 {
        self.base.0 as f64 / self.base.1 as f64
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        let scaled = |a: &Self, b: &Self| i128::from(a.ticks) * i128::from(a.base.0) * i128::from(b.base.1);
        scaled(self, other).cmp(&scaled(other, self)) == Ordering::Equal
    }
}

/// Everything that is compared.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// When each frame is shown, in the order in which frames come out of the decoder.
    pub times: Vec<Time>,
    /// MD5 of each frame's samples.
    pub frames: Vec<String>,
    /// What ffmpeg has to say while it decodes the video.
    pub complaints: String,
    pub picture: Picture,
    /// The video's facts that are no pictures.
    pub codec: String,
    /// One past the last frame, seconds; none where the container does not say how long that one lasts.
    pub end: Option<f64>,
    pub sounds: Vec<Sound>,
    pub subtitles: Vec<Subtitle>,
    /// Digests of pictures that stand for the whole clip.
    pub covers: Vec<String>,
    /// Digests of files within, fonts for example.
    pub attachments: Vec<String>,
    pub chapters: Vec<Chapter>,
    pub title: String,
}

/// What is said about the pictures. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    pub size: (u64, u64),
    /// FFmpeg's name, without the `j` that stands for full range.
    pub pixels: String,
    pub aspect: String,
    /// Degrees.
    pub rotation: i64,
    pub range: String,
    pub matrix: String,
    pub transfer: String,
    pub primaries: String,
    pub siting: String,
    /// Of every frame: `p`, `t` (top field first) or `b`.
    pub fields: String,
    /// Mastering display: primaries, white point, luminances.
    pub mastering: Vec<f64>,
    /// Content light level: maximum, average.
    pub light: Vec<f64>,
}

/// A track of sound.
#[derive(Clone, Debug, Default)]
pub struct Sound {
    pub codec: String,
    pub tags: Tags,
    /// Digest and time of every packet.
    pub packets: Vec<(String, Time)>,
    /// When the first sample is heard, seconds: later than the first packet where that is there for decoders to begin with.
    pub heard: f64,
}

/// A track of subtitles.
#[derive(Clone, Debug, Default)]
pub struct Subtitle {
    pub tags: Tags,
    pub cues: Vec<Cue>,
}

/// What is shown from when to when; milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    pub from: i64,
    pub to: i64,
    pub text: String,
}

/// What a track is called, and for what it is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tags {
    pub language: String,
    /// `default`, `forced` and the like.
    pub dispositions: Vec<String>,
}

/// A chapter; times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Chapter {
    pub from: i64,
    pub to: i64,
    pub title: String,
}

/// Looks at a clip. `filter` is applied to the frames before their digests are taken. `strip_adts`: digests of AAC packets are
/// those of their content.
pub fn look(path: &Path, filter: Option<&str>, strip_adts: bool) -> Result<Look> {
    let told = probe(path, &["-show_streams", "-show_chapters", "-show_format", "-show_packets"])?;
    let streams = Streams::of(&told)?;
    let video = streams.video.to_string();
    let shown = probe(path, &["-select_streams", &video, "-show_frames"])?;
    let base = tell::base(streams.of_index(streams.video))?;
    let mut times = Vec::new();
    for (number, frame) in list(&shown, "frames").iter().enumerate() {
        // Clips without times: what counts is how many there are.
        let ticks = frame["best_effort_timestamp"].as_i64().unwrap_or(number as i64);
        times.push(Time { ticks, base });
    }
    let (frames, complaints) = decode(path, streams.video, filter)?;
    let mut sounds = Vec::new();
    for index in streams.kind("audio") {
        sounds.push(sound(path, &told, streams.of_index(index), index, strip_adts)?);
    }
    let mut written = Vec::new();
    for index in streams.kind("subtitle") {
        written.push(Subtitle { tags: tags(streams.of_index(index)), cues: subtitles(path, index)? });
    }
    let covers = streams.covers().map(|cover| packets(&told, cover).map(|packet| text(packet, "data_hash")).collect());
    let attachments = streams.kind("attachment").map(|index| text(streams.of_index(index), "extradata_hash"));
    Ok(Look {
        picture: picture(streams.of_index(streams.video), &shown),
        codec: text(streams.of_index(streams.video), "codec_name"),
        end: end(&told, streams.of_index(streams.video), base),
        covers: covers.collect::<Vec<Vec<String>>>().concat(),
        attachments: attachments.collect(),
        chapters: list(&told, "chapters").iter().map(chapter).collect(),
        title: text(&told["format"]["tags"], "title"),
        subtitles: written,
        times,
        frames,
        complaints,
        sounds,
    })
}

/// Raw samples of every frame, all planes one after the other, as the decoder puts them out.
pub fn samples(path: &Path) -> Result<Vec<u8>> {
    decoded(path, &["-f", "rawvideo"])
}

fn packets(told: &Value, stream: u64) -> impl Iterator<Item = &Value> {
    list(told, "packets").iter().filter(move |packet| packet["stream_index"].as_u64() == Some(stream))
}

fn end(told: &Value, video: &Value, base: (i64, i64)) -> Option<f64> {
    let last = packets(told, video["index"].as_u64()?).max_by_key(|packet| packet["pts"].as_i64())?;
    let of_packets = last["pts"].as_i64()?.checked_add(last["duration"].as_i64()?);
    // MP4 adds up how far decode times are apart, which may be less than what is shown.
    let of_stream =
        video["start_pts"].as_i64().zip(video["duration_ts"].as_i64()).map(|(start, length)| start + length);
    Some(Time { ticks: of_packets.max(of_stream)?, base }.seconds())
}

fn sound(path: &Path, told: &Value, stream: &Value, index: u64, strip_adts: bool) -> Result<Sound> {
    let base = tell::base(stream)?;
    let codec = text(stream, "codec_name");
    let mut contents: Vec<String> =
        packets(told, index).map(|packet| format!("{} {}", packet["size"], text(packet, "data_hash"))).collect();
    if strip_adts && codec == "aac" {
        contents = tell::without_adts(path, index)?;
    }
    let ticks = packets(told, index).map(|packet| packet["pts"].as_i64().unwrap_or(i64::MIN));
    let times = ticks.map(|ticks| Time { ticks, base });
    let heard = tell::heard(path, index)?;
    Ok(Sound { codec, tags: tags(stream), packets: contents.into_iter().zip(times).collect(), heard })
}

fn tags(stream: &Value) -> Tags {
    let language = text(&stream["tags"], "language");
    let known = stream["disposition"].as_object().into_iter().flatten();
    let set = known.filter(|(_, is_set)| is_set.as_i64() == Some(1)).map(|(name, _)| name.clone());
    // Containers differ in how they say that nothing is known.
    let language = if language == "und" { String::new() } else { language };
    Tags { language, dispositions: set.collect() }
}

fn chapter(chapter: &Value) -> Chapter {
    let milliseconds = |name: &str| (number(chapter, name) * 1000.0).round() as i64;
    Chapter { from: milliseconds("start_time"), to: milliseconds("end_time"), title: text(&chapter["tags"], "title") }
}

fn picture(stream: &Value, shown: &Value) -> Picture {
    let frames = list(shown, "frames");
    // What the container does not say, the pictures may.
    let known = |name: &str| {
        let said = [Some(stream), frames.first()].into_iter().flatten().map(|place| text(place, name));
        let mut said = said.filter(|said| !["", "unknown", "unspecified", "N/A"].contains(&said.as_str()));
        said.next().unwrap_or_default()
    };
    let pixels = text(stream, "pix_fmt");
    let is_jpeg = pixels.starts_with("yuvj");
    let range = known("color_range");
    let field = |frame: &Value| match (frame["interlaced_frame"].as_i64(), frame["top_field_first"].as_i64()) {
        (Some(1), Some(1)) => 't',
        (Some(1), _) => 'b',
        _ => 'p',
    };
    let facts: Vec<&Value> = list(stream, "side_data_list")
        .iter()
        .chain(frames.first().map_or(&[][..], |f| list(f, "side_data_list")))
        .collect();
    let fact = |kind: &str, names: &[&str]| -> Vec<f64> {
        let found = facts.iter().find(|fact| text(fact, "side_data_type") == kind);
        found.map(|fact| names.iter().map(|name| number(fact, name)).collect()).unwrap_or_default()
    };
    Picture {
        size: (stream["width"].as_u64().unwrap_or(0), stream["height"].as_u64().unwrap_or(0)),
        pixels: if is_jpeg { pixels.replacen("yuvj", "yuv", 1) } else { pixels },
        aspect: match known("sample_aspect_ratio").as_str() {
            "" | "0:1" => "1:1".to_owned(),
            other => other.to_owned(),
        },
        rotation: fact("Display Matrix", &["rotation"]).first().map_or(0, |degrees| *degrees as i64),
        // What says nothing is limited.
        range: if is_jpeg || range == "pc" { "full" } else { "limited" }.to_owned(),
        matrix: known("color_space"),
        transfer: known("color_transfer"),
        primaries: known("color_primaries"),
        siting: known("chroma_location"),
        fields: frames.iter().map(field).collect(),
        mastering: fact(
            "Mastering display metadata",
            &[
                "red_x",
                "red_y",
                "green_x",
                "green_y",
                "blue_x",
                "blue_y",
                "white_point_x",
                "white_point_y",
                "min_luminance",
                "max_luminance",
            ],
        ),
        light: fact("Content light level metadata", &["max_content", "max_average"]),
    }
}
