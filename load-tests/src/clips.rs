//! The clips that are measured on: the demo's, and what `ffmpeg` makes of it. Decoding goes through `ffmpeg` too, so that what is measured
//! is not measured by itself.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use facemill::config::cache_dir;
use facemill::frame::{Color, Frame, Matrix};

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
    while frames.read_exact(&mut buffer).is_ok() {
        let frame = image::RgbImage::from_raw(width, height, buffer.clone()).context("a frame of the expected size")?;
        each(number, frame)?;
        number += 1;
    }
    drop(frames);
    child.wait()?;
    Ok(())
}

/// The frames of a clip as 8-bit 4:2:0 of limited range, as they are stored if that is what they are.
pub struct Frames {
    child: Child,
    out: ChildStdout,
    size: [usize; 2],
    color: Color,
}

impl Frames {
    pub fn open(clip: &Path) -> Result<Self> {
        let (width, height) = size(clip)?;
        let matrix = match probe(clip, "stream=color_space")?.trim().trim_end_matches(',') {
            "bt709" => Matrix::Bt709,
            "bt2020nc" | "bt2020c" => Matrix::Bt2020,
            "unknown" if height >= 720 => Matrix::Bt709,
            _ => Matrix::Bt601,
        };
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-noautorotate", "-i"]).arg(clip);
        command.args(["-map", "0:v:0", "-vsync", "passthrough", "-vf", "scale=out_range=tv"]);
        command.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
        let mut child = command.stdout(Stdio::piped()).spawn().context("start ffmpeg")?;
        let out = child.stdout.take().context("ffmpeg has an output")?;
        Ok(Self { child, out, size: [width as usize, height as usize], color: Color::sdr(matrix, false) })
    }

    /// Width and height, pixels.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The next frame; None after the last.
    pub fn next(&mut self) -> Result<Option<Frame>> {
        let [width, height] = self.size;
        let mut frame = Frame::grey(width, height, self.color);
        for (number, plane) in frame.planes_mut().into_iter().enumerate() {
            match self.out.read_exact(plane.data) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && number == 0 => return Ok(None),
                Err(error) => return Err(error).context("read a frame"),
            }
        }
        Ok(Some(frame))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Whoever has seen enough does not wait for the rest.
        self.child.kill().ok();
        self.child.wait().ok();
    }
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
