//! What `ffprobe` and `ffmpeg` print, taken apart.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Cue;

/// `ffprobe`'s answer, with digests.
pub fn probe(path: &Path, questions: &[&str]) -> Result<Value> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "json", "-show_data_hash", "md5"]).args(questions).arg(path);
    let output = command.output().context("start ffprobe")?;
    ensure!(output.status.success(), "ffprobe {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A list in an answer; empty if there is none.
pub fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text in an answer; empty if there is none.
pub fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_default().to_owned()
}

/// A number in an answer, also one that is written as text or as a fraction; 0 if there is none.
pub fn number(answer: &Value, name: &str) -> f64 {
    match &answer[name] {
        Value::Number(number) => number.as_f64().unwrap_or(0.0),
        Value::String(text) => match text.split_once('/') {
            Some((over, under)) => over.parse().unwrap_or(0.0) / under.parse().unwrap_or(1.0),
            None => text.parse().unwrap_or(0.0),
        },
        _ => 0.0,
    }
}

/// Seconds in a tick, as a fraction.
pub fn base(stream: &Value) -> Result<(i64, i64)> {
    let (num, den) = stream["time_base"].as_str().and_then(|base| base.split_once('/')).context("a time base")?;
    Ok((num.parse()?, den.parse()?))
}

/// The streams of a clip.
pub struct Streams<'a> {
    all: &'a [Value],
    /// Index of the video.
    pub video: u64,
}

impl<'a> Streams<'a> {
    pub fn of(told: &'a Value) -> Result<Self> {
        let all = list(told, "streams");
        let video = all.iter().position(|stream| is_kind(stream, "video") && !is_cover(stream));
        Ok(Self { all, video: video.context("there is no video")? as u64 })
    }

    pub fn of_index(&self, index: u64) -> &'a Value {
        &self.all[index as usize]
    }

    /// Indices of all of a kind.
    pub fn kind(&self, kind: &'static str) -> impl Iterator<Item = u64> + use<'a> {
        let all = self.all;
        (0..all.len()).filter(move |index| is_kind(&all[*index], kind)).map(|index| index as u64)
    }

    /// Indices of the cover art.
    pub fn covers(&self) -> impl Iterator<Item = u64> + use<'a> {
        let all = self.all;
        (0..all.len()).filter(|index| is_cover(&all[*index])).map(|index| index as u64)
    }
}

fn is_kind(stream: &Value, kind: &str) -> bool {
    stream["codec_type"] == kind
}

fn is_cover(stream: &Value) -> bool {
    stream["disposition"]["attached_pic"] == 1
}

/// MD5 of every frame of a stream, after `filter`, and what ffmpeg says meanwhile.
pub fn decode(path: &Path, stream: u64, filter: Option<&str>) -> Result<(Vec<String>, String)> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-threads", "1", "-noautorotate", "-i"]).arg(path);
    command.args(["-map", &format!("0:{stream}"), "-vsync", "passthrough", "-vf", filter.unwrap_or("null")]);
    let output = command.args(["-f", "framemd5", "-"]).output().context("start ffmpeg")?;
    ensure!(output.status.success(), "ffmpeg {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    Ok((digests(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// MD5 and size of every packet of an AAC stream, without its ADTS header.
pub fn without_adts(path: &Path, stream: u64) -> Result<Vec<String>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-copyts", "-i"]).arg(path);
    command.args(["-map", &format!("0:{stream}"), "-c", "copy", "-bsf:a", "aac_adtstoasc", "-f", "framemd5", "-"]);
    let output = command.output().context("start ffmpeg")?;
    ensure!(output.status.success(), "ffmpeg {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = printed.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
    Ok(fields.map(|fields| format!("\"{}\" MD5:{}", fields[4], fields[5])).collect())
}

fn digests(printed: &[u8]) -> Vec<String> {
    let printed = String::from_utf8_lossy(printed);
    let lines = printed.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap_or_default().trim().to_owned()).collect()
}

/// When the first sample of a stream is heard, seconds.
pub fn heard(path: &Path, stream: u64) -> Result<f64> {
    let stream = stream.to_string();
    let told = probe(path, &["-select_streams", &stream, "-read_intervals", "%+#4", "-show_frames"])?;
    Ok(list(&told, "frames").first().map_or(0.0, |frame| number(frame, "pts_time")))
}

/// A stream of subtitles, without its style.
pub fn subtitles(path: &Path, stream: u64) -> Result<Vec<Cue>> {
    let mut command = Command::new("ffmpeg");
    // Otherwise all begins at 0, whatever does.
    command.args(["-nostdin", "-v", "error", "-copyts", "-i"]).arg(path);
    let output = command.args(["-map", &format!("0:{stream}"), "-f", "srt", "-"]).output().context("start ffmpeg")?;
    ensure!(output.status.success(), "ffmpeg {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    Ok(cues(&String::from_utf8_lossy(&output.stdout)))
}

/// The cues of a SubRip text.
fn cues(text: &str) -> Vec<Cue> {
    let blocks = text.split("\n\n").filter_map(|block| {
        let mut lines = block.trim_start().lines().skip(1);
        let (from, to) = lines.next()?.split_once(" --> ")?;
        let text = lines.collect::<Vec<_>>().join("\n");
        Some(Cue { from: milliseconds(from)?, to: milliseconds(to)?, text })
    });
    blocks.collect()
}

/// Of `00:00:01,021`.
fn milliseconds(time: &str) -> Option<i64> {
    let numbers: Option<Vec<i64>> = time.trim().split([':', ',']).map(|number| number.parse().ok()).collect();
    let &[hours, minutes, seconds, thousandths] = numbers?.as_slice() else { return None };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths)
}

/// What the first video decodes to.
pub fn decoded(path: &Path, form: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-threads", "1", "-noautorotate", "-i"]).arg(path);
    let output = command.args(["-map", "0:v:0", "-vsync", "passthrough"]).args(form).arg("-").output()?;
    ensure!(output.status.success(), "ffmpeg {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_are_read() {
        let text = "1\n00:00:01,021 --> 00:00:02,500\nHello\n\n2\n01:00:02,521 --> 01:00:02,921\nGrüße,\nworld\n\n";
        let cue = |from, to, text: &str| Cue { from, to, text: text.to_owned() };
        assert_eq!(cues(text), [cue(1021, 2500, "Hello"), cue(3_602_521, 3_602_921, "Grüße,\nworld")]);
        assert_eq!(cues(""), []);
    }
}
