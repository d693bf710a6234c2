//! The clips that are measured on: the demo's, and what `ffmpeg` makes of it. Decoding goes through `ffmpeg` too, so that what is measured
//! is not measured by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use facemill::config::cache_dir;

/// The demo's clip, as `make setup` has fetched it: 640×360, 24000/1001 frames per second, 472 frames.
pub fn demo() -> Result<PathBuf> {
    let path = cache_dir().join("media/WolfgangLanger_Pexels.mp4");
    ensure!(path.is_file(), "{} is missing; run `make setup`", path.display());
    Ok(path)
}

/// The demo's portrait.
pub fn portrait() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/portrait.jpg")
}

/// Runs `ffmpeg`; fails with what it says.
pub fn ffmpeg(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]).args(arguments);
    let output = command.output().context("start ffmpeg")?;
    ensure!(output.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// All frames of a clip as RGB24, one after the other, with their size.
pub fn rgb_frames(clip: &Path, mut each: impl FnMut(usize, image::RgbImage) -> Result<()>) -> Result<()> {
    let (width, height) = size(clip)?;
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-noautorotate", "-i"]).arg(clip);
    command.args(["-map", "0:v:0", "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("start ffmpeg")?;
    let mut frames = child.stdout.take().context("ffmpeg has an output")?;
    let mut buffer = vec![0; width as usize * height as usize * 3];
    let mut number = 0;
    while std::io::Read::read_exact(&mut frames, &mut buffer).is_ok() {
        let frame = image::RgbImage::from_raw(width, height, buffer.clone()).context("a frame of the expected size")?;
        each(number, frame)?;
        number += 1;
    }
    drop(frames);
    child.wait()?;
    Ok(())
}

/// Width and height, pixels.
fn size(clip: &Path) -> Result<(u32, u32)> {
    let text = probe(clip, "stream=width,height")?;
    let (width, height) = text.trim().split_once(',').context("ffprobe tells a size")?;
    Ok((width.parse()?, height.parse()?))
}

/// Number of frames.
pub fn frames(clip: &Path) -> Result<u64> {
    Ok(probe(clip, "stream=nb_frames")?.trim().trim_end_matches(',').parse()?)
}

fn probe(clip: &Path, entries: &str) -> Result<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "csv=p=0"]).arg(clip);
    Ok(String::from_utf8(command.output().context("start ffprobe")?.stdout)?)
}
