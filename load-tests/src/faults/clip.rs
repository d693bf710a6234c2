//! A small clip that knows which frame is which: each frame's number stands in its pixels, as sixteen black or white blocks.
//!
//! Made and read by `ffmpeg`, so that the program under test does not judge itself. Times are uneven, so that frames that have
//! changed places with their times do not go unnoticed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Blocks in a row and in a column; with 4 × 4 blocks, numbers below 65,536.
const BLOCKS: usize = 4;
/// Studio-range black and white.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
/// Frames from keyframe to keyframe: a chunk.
pub const GOP: u64 = 20;
/// Frames of a clip: eight chunks.
pub const FRAMES: u64 = 160;
/// Stands for a frame whose blocks are neither black nor white.
pub const UNREADABLE: u32 = u32::MAX;

/// What a clip shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The numbers in the pixels, in the order of decoding for display.
    pub frames: Vec<u32>,
    /// Display times of the frames, ascending, µs.
    pub times: Vec<i64>,
    /// Packets of sound.
    pub audio: Vec<AudioPacket>,
}

/// A packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPacket {
    /// Its time, µs.
    pub time: i64,
    /// Digest of its bytes.
    pub digest: String,
}

/// A clip with stamped frames.
#[derive(Clone, Debug)]
pub struct Stamped {
    bytes: Vec<u8>,
    /// What it shows.
    pub reading: Reading,
}

/// Size of a clip's pictures, pixels; both multiples of 8.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize, pub usize);

/// Whole runs in milliseconds.
pub const TINY: Size = Size(64, 48);
/// A chunk of it takes about a second with preset `placebo`: time enough to be interrupted.
pub const SLOW: Size = Size(640, 360);

impl Stamped {
    /// Makes a clip of [`FRAMES`] frames.
    pub fn make(folder: &Path, size: Size) -> Result<Self> {
        let path = folder.join(format!("stamped-{}.mp4", size.0));
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray", "-r", "25", "-s"]);
        command.arg(format!("{}x{}", size.0, size.1)).args(["-i", "-", "-f", "lavfi", "-i", "sine=d=6.5"]);
        command.args(["-vf", "settb=1/1000,setpts=N*40+mod(N\\,3)*5", "-fps_mode", "passthrough"]);
        command.args(["-enc_time_base:v", "1:1000", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]);
        command.arg("-x264-params").arg(format!("keyint={GOP}:min-keyint={GOP}:scenecut=0"));
        command.args(["-c:a", "aac", "-shortest", "-video_track_timescale", "90000"]).arg(&path);
        let mut child = command.stdin(Stdio::piped()).spawn().context("start ffmpeg")?;
        let mut pixels = child.stdin.take().context("ffmpeg has an input")?;
        for number in 0..FRAMES {
            pixels.write_all(&stamp(number as u32, size))?;
        }
        drop(pixels);
        ensure!(child.wait()?.success(), "ffmpeg could not make {}", path.display());
        let reading = read(&path)?;
        let expected: Vec<u32> = (0..FRAMES as u32).collect();
        ensure!(reading.frames == expected, "{} does not show its numbers", path.display());
        Ok(Self { bytes: std::fs::read(&path)?, reading })
    }

    /// Writes a file that shows the same and has another digest: with an empty box at its end that holds `number`.
    pub fn write_variant(&self, to: &Path, number: u64) -> Result<()> {
        let mut bytes = self.bytes.clone();
        bytes.extend_from_slice(&16_u32.to_be_bytes());
        bytes.extend_from_slice(b"free");
        bytes.extend_from_slice(&number.to_be_bytes());
        std::fs::write(to, bytes).with_context(|| format!("write {}", to.display()))
    }
}

/// A gray picture with `number` in its blocks, lowest bit in the top left corner.
fn stamp(number: u32, Size(width, height): Size) -> Vec<u8> {
    let mut picture = vec![BLACK; width * height];
    for (place, pixel) in picture.iter_mut().enumerate() {
        let (x, y) = (place % width * BLOCKS / width, place / width * BLOCKS / height);
        if number >> (y * BLOCKS + x) & 1 == 1 {
            *pixel = WHITE;
        }
    }
    picture
}

/// The number in a gray picture's blocks.
fn number_in(picture: &[u8], Size(width, height): Size) -> u32 {
    let mut sums = [0_u64; BLOCKS * BLOCKS];
    for (place, pixel) in picture.iter().enumerate() {
        sums[place / width * BLOCKS / height * BLOCKS + place % width * BLOCKS / width] += u64::from(*pixel);
    }
    let area = (width * height / sums.len()) as u64;
    let mut number = 0;
    for (bit, sum) in sums.iter().enumerate() {
        match sum / area {
            0..=70 => {}
            180.. => number |= 1 << bit,
            _ => return UNREADABLE,
        }
    }
    number
}

/// Reads a clip.
pub fn read(path: &Path) -> Result<Reading> {
    let (size, times, audio) = packets(path)?;
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-threads", "1", "-i"]).arg(path);
    // Microseconds, or frames that are closer than a guessed frame rate has them share a time.
    command.args(["-map", "0:v:0", "-vf", "settb=1/1000000", "-enc_time_base:v", "1:1000000"]);
    command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]);
    let decoded = command.output().context("start ffmpeg")?;
    let complaint = String::from_utf8_lossy(&decoded.stderr);
    ensure!(decoded.status.success() && complaint.is_empty(), "{} cannot be decoded: {complaint}", path.display());
    let frames = decoded.stdout.chunks_exact(size.0 * size.1).map(|picture| number_in(picture, size)).collect();
    Ok(Reading { frames, times, audio })
}

/// Size, times of the frames and packets of sound, as `ffprobe` tells them.
fn packets(path: &Path) -> Result<(Size, Vec<i64>, Vec<AudioPacket>)> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_data_hash", "md5", "-of", "json", "-show_entries"]);
    command.arg("packet=codec_type,pts_time,data_hash:stream=codec_type,width,height").arg(path);
    let probed = command.output().context("start ffprobe")?;
    ensure!(probed.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&probed.stderr));
    let probed: serde_json::Value = serde_json::from_slice(&probed.stdout)?;
    let listed = |name: &str| probed[name].as_array().cloned().unwrap_or_default();
    let video = listed("streams").into_iter().find(|stream| stream["codec_type"] == "video");
    let video = video.with_context(|| format!("{} has no video", path.display()))?;
    let side = |name: &str| video[name].as_u64().unwrap_or(0) as usize;
    let (mut times, mut audio) = (Vec::new(), Vec::new());
    for packet in listed("packets") {
        let seconds: f64 = packet["pts_time"].as_str().context("a packet has a time")?.parse()?;
        let time = (seconds * 1e6).round() as i64;
        match packet["codec_type"].as_str() {
            Some("video") => times.push(time),
            Some("audio") => {
                audio.push(AudioPacket { time, digest: packet["data_hash"].as_str().unwrap_or("").to_owned() });
            }
            _ => {}
        }
    }
    times.sort_unstable();
    Ok((Size(side("width"), side("height")), times, audio))
}

/// Where the clip of run `number` lies in `folder`.
pub fn variant_path(folder: &Path, job: &str) -> PathBuf {
    folder.join(format!("{job}-in.mp4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_out_of_the_pixels() {
        for number in [0, 1, 2, 159, 0x5555, 0xffff] {
            for size in [TINY, SLOW] {
                assert_eq!(number_in(&stamp(number, size), size), number);
            }
        }
    }

    #[test]
    fn a_gray_block_is_no_number() {
        let mut picture = stamp(3, TINY);
        picture.fill(128);
        assert_eq!(number_in(&picture, TINY), UNREADABLE);
    }

    #[test]
    fn a_clip_shows_what_was_stamped_and_its_variants_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let clip = Stamped::make(folder.path(), TINY).unwrap();
        assert_eq!((clip.reading.frames.len(), clip.reading.times.len()), (160, 160));
        assert_eq!(clip.reading.times[..4], [0, 45_000, 90_000, 120_000]);
        assert!(clip.reading.audio.len() > 100);
        let other = folder.path().join("other.mp4");
        clip.write_variant(&other, 7).unwrap();
        assert_eq!(read(&other).unwrap(), clip.reading);
    }
}
