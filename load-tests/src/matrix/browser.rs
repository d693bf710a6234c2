//! Headless Chromium plays the outputs to their ends and counts their frames.
//!
//! A page (`browser.html`) is served on loopback, plays one clip after the other, and posts what it has counted. Debian's Chromium
//! has H.264, VP9 and AV1; that it has no HEVC is no fault of the clip's.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::table::{Played, Row};

const PAGE: &str = include_str!("browser.html");
/// How long a clip may take, also the first, for which Chromium starts.
const CLIP_LIMIT: Duration = Duration::from_secs(120);
/// `MediaError.MEDIA_ERR_DECODE` and `MEDIA_ERR_SRC_NOT_SUPPORTED` of the HTML standard.
const ERROR_DECODE: i64 = 3;
const ERROR_NOT_SUPPORTED: i64 = 4;

/// A running Chromium; ends with this.
struct Chromium(Child);

impl Drop for Chromium {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plays the output of every row that has one, and notes what came of it. `folder` is for Chromium's profile.
pub fn play(rows: &mut [Row], folder: &Path) -> Result<()> {
    let clips: Vec<PathBuf> =
        rows.iter().filter_map(|row| row.output.as_ref()).map(|(path, ..)| path.clone()).collect();
    if clips.is_empty() {
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (told, results) = mpsc::channel();
    let count = clips.len();
    // Ends with the process: nothing is lost with it.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (clips, told) = (clips.clone(), told.clone());
            // A connection that breaks is Chromium's own affair.
            std::thread::spawn(move || serve(stream, &clips, &told).ok());
        }
    });
    let _chromium = start(&format!("http://{address}/"), folder)?;
    let mut answers = vec![Value::Null; count];
    for number in 0..count {
        let (clip, answer) = results
            .recv_timeout(CLIP_LIMIT)
            .with_context(|| format!("chromium has played {number} of {count} clips and does not go on"))?;
        ensure!(clip < count, "chromium speaks of a clip that is not there");
        answers[clip] = answer;
    }
    let with_output = rows.iter_mut().filter(|row| row.output.is_some());
    for (row, answer) in with_output.zip(answers) {
        let Some((_, frames, codec)) = &row.output else { continue };
        row.browser = Some(match judge(&answer, *frames) {
            Played::Unknown if codec != "hevc" => Played::Wrong(format!("no decoder for {codec}: {answer}")),
            played => played,
        });
    }
    Ok(())
}

fn judge(answer: &Value, frames: usize) -> Played {
    let (duration, place) =
        (answer["duration"].as_f64().unwrap_or(0.0), answer["currentTime"].as_f64().unwrap_or(-1.0));
    match (answer["outcome"].as_str(), answer["code"].as_i64()) {
        // With a track of sound that it knows, it plays that.
        (Some("error"), Some(ERROR_NOT_SUPPORTED)) | (Some("ended"), _) if answer["videoWidth"] == 0 => Played::Unknown,
        (Some("error"), Some(ERROR_DECODE)) => Played::Wrong(format!("it cannot be decoded: {}", answer["message"])),
        (Some("ended"), _) if answer["frames"].as_u64() == Some(frames as u64) && place >= duration => Played::Whole,
        _ => Played::Wrong(format!("expected {frames} frames to the end, found {answer}")),
    }
}

fn start(url: &str, folder: &Path) -> Result<Chromium> {
    let mut command = Command::new("chromium");
    command.args(["--headless=new", "--disable-gpu", "--mute-audio", "--no-first-run", "--disable-dev-shm-usage"]);
    command.args(["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]);
    // What it plays was made here; as root Chromium has no sandbox.
    command.arg("--no-sandbox").arg(format!("--user-data-dir={}", folder.join("chromium").display())).arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Chromium(command.spawn().context("start chromium (deploy/setup/debian.sh browser installs it)")?))
}

/// A request.
struct Request {
    method: String,
    path: String,
    /// First byte that is asked for.
    from: Option<u64>,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().context("a method")?, words.next().context("a path")?);
    let (mut from, mut length) = (None, 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "range" => {
                from = value.trim().strip_prefix("bytes=").and_then(|range| range.split('-').next()?.parse().ok())
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, from, body }))
}

/// Answers one request; the connection is closed after it.
fn serve(stream: TcpStream, clips: &[PathBuf], told: &mpsc::Sender<(usize, Value)>) -> Result<()> {
    let Some(request) = read(&stream)? else { return Ok(()) };
    let number = |path: &str| path.rsplit('/').next().and_then(|number| number.parse::<usize>().ok());
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => answer(stream, "text/html; charset=utf-8", PAGE.as_bytes()),
        ("GET", "/count") => answer(stream, "application/json", clips.len().to_string().as_bytes()),
        ("GET", path) if path.starts_with("/clips/") => {
            let clip = number(path).and_then(|number| clips.get(number)).context("such a clip")?;
            send(stream, clip, request.from)
        }
        ("POST", path) if path.starts_with("/results/") => {
            let clip = number(path).context("the clip's number")?;
            told.send((clip, serde_json::from_slice(&request.body)?))?;
            answer(stream, "text/plain", b"")
        }
        (_, path) => bail!("nothing is called {path}"),
    }
}

fn answer(mut stream: TcpStream, kind: &str, body: &[u8]) -> Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")?;
    Ok(stream.write_all(body)?)
}

/// A clip, or what of it lies behind a byte: Chromium reads on where an index tells it to.
fn send(mut stream: TcpStream, clip: &Path, from: Option<u64>) -> Result<()> {
    let mut file = File::open(clip)?;
    let length = file.metadata()?.len();
    let first = from.unwrap_or(0).min(length);
    file.seek(SeekFrom::Start(first))?;
    let kind = match clip.extension().and_then(|extension| extension.to_str()) {
        Some("mkv") => "video/x-matroska",
        Some("webm") => "video/webm",
        Some("mov") => "video/quicktime",
        _ => "video/mp4",
    };
    let status = match from {
        Some(_) => format!("206 Partial Content\r\ncontent-range: bytes {first}-{}/{length}", length.saturating_sub(1)),
        None => "200 OK".to_owned(),
    };
    let rest = length - first;
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\naccept-ranges: bytes\r\ncontent-length: {rest}\r\nconnection: close\r\n\r\n"
    )?;
    std::io::copy(&mut file, &mut stream)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_all_frames_to_the_end_are_enough() {
        let ended = |frames: u64, place: f64| {
            judge(
                &json!({ "outcome": "ended", "frames": frames, "duration": 7.0, "currentTime": place, "videoWidth": 160 }),
                175,
            )
        };
        assert!(matches!(ended(175, 7.0), Played::Whole));
        assert!(matches!(ended(174, 7.0), Played::Wrong(_)));
        assert!(matches!(ended(175, 6.9), Played::Wrong(_)));
        let error = |code: i64| {
            judge(&json!({ "outcome": "error", "code": code, "message": "m", "frames": 175, "videoWidth": 0 }), 175)
        };
        assert!(matches!(error(ERROR_NOT_SUPPORTED), Played::Unknown));
        assert!(matches!(error(ERROR_DECODE), Played::Wrong(_)));
        assert!(matches!(judge(&json!({ "outcome": "stands still", "frames": 175 }), 175), Played::Wrong(_)));
    }
}
