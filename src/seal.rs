//! A result that can be checked by itself: its video, then a footer with the digest of that video.
//!
//! The store knows a result only by the hash of what determines it, which says nothing about the bytes that are there. The footer does.
//!
//! ```text
//! video (NUT) │ footer (JSON) │ length of the footer, u32, little endian │ magic, 8 bytes
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::contract::{Digest, ResultFooter};

mod json;

pub use json::{from_json, to_json};

const MAGIC: &[u8; 8] = b"fmill-1\n";
/// Length field and magic, bytes.
const TAIL: usize = 12;
/// A footer is never longer than this, bytes.
pub const FOOTER_REACH: u64 = 4 << 10;

/// Why a file is not a whole result.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It has no footer, or a broken one.
    #[error("the result has no valid footer ({0})")]
    NoFooter(&'static str),
    /// Its video is not what the footer says.
    #[error("the result is corrupt: sha256 {found}, expected {expected}")]
    Corrupt {
        /// What the footer says.
        expected: Digest,
        /// What the bytes say.
        found: Digest,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Appends the footer that `footer` makes of the digest of everything in the file so far.
pub fn seal(path: &Path, footer: impl FnOnce(Digest) -> ResultFooter) -> Result<ResultFooter, SealError> {
    let mut file = File::options().read(true).append(true).open(path)?;
    let payload = file.metadata()?.len();
    let footer = footer(digest_of(&mut file, payload)?);
    let text = serde_json::to_vec(&footer).map_err(io::Error::other)?;
    file.write_all(&text)?;
    file.write_all(&(text.len() as u32).to_le_bytes())?;
    file.write_all(MAGIC)?;
    Ok(footer)
}

/// The footer, and the number of bytes of video before it. The video itself is not read.
pub fn footer(path: &Path) -> Result<(ResultFooter, u64), SealError> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let reach = size.min(FOOTER_REACH);
    let mut tail = Vec::with_capacity(reach as usize);
    file.seek(SeekFrom::Start(size - reach))?;
    file.read_to_end(&mut tail)?;
    let (footer, length) = parse(&tail)?;
    Ok((footer, size - length))
}

/// The footer of a result of which only the last bytes are here: [`FOOTER_REACH`] of them are enough.
pub fn footer_in(tail: &[u8]) -> Result<ResultFooter, SealError> {
    parse(tail).map(|(footer, _)| footer)
}

/// The footer at the end of `tail`, and its length with everything after it.
fn parse(tail: &[u8]) -> Result<(ResultFooter, u64), SealError> {
    let Some((rest, magic)) = tail.split_last_chunk::<8>() else { return Err(SealError::NoFooter("too short")) };
    if magic != MAGIC {
        return Err(SealError::NoFooter("no magic at its end"));
    }
    let Some((rest, length)) = rest.split_last_chunk::<4>() else { return Err(SealError::NoFooter("too short")) };
    let length = u32::from_le_bytes(*length) as usize;
    let Some(start) = rest.len().checked_sub(length) else { return Err(SealError::NoFooter("impossible length")) };
    let footer = serde_json::from_slice(&rest[start..]).map_err(|_| SealError::NoFooter("not the expected JSON"))?;
    Ok((footer, (length + TAIL) as u64))
}

/// As [`footer`], after checking that the video has the digest that the footer gives.
pub fn verify(path: &Path) -> Result<(ResultFooter, u64), SealError> {
    let (footer, payload) = footer(path)?;
    let found = digest_of(&mut File::open(path)?, payload)?;
    if found != footer.sha256 {
        return Err(SealError::Corrupt { expected: footer.sha256, found });
    }
    Ok((footer, payload))
}

/// The digest of a whole file.
pub fn digest_file(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    digest_of(&mut file, size)
}

fn digest_of(file: &mut File, bytes: u64) -> io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = file.take(bytes);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Digest::finish(hasher)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{FrameCounts, PIPELINE};

    fn sealed(video: &[u8]) -> (tempfile::NamedTempFile, ResultFooter) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), video).unwrap();
        let fingerprint = serde_json::from_value(serde_json::json!(Digest::of(b"name"))).unwrap();
        let counts = FrameCounts { frames: u64::from(PIPELINE), ..FrameCounts::default() };
        let made = seal(file.path(), |sha256| ResultFooter { fingerprint, sha256, counts, reorder_depth: 2 }).unwrap();
        (file, made)
    }

    #[test]
    fn a_sealed_file_tells_its_footer_and_its_payload() {
        for video in [&b""[..], b"video", &[7; 300_000]] {
            let (file, made) = sealed(video);
            assert_eq!(verify(file.path()).unwrap(), (made, video.len() as u64));
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let (file, made) = sealed(b"some frames of video");
        let whole = std::fs::read(file.path()).unwrap();
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            std::fs::write(file.path(), &flipped).unwrap();
            // A flip inside the footer may still be a footer, but never the same one.
            if let Ok((footer, _)) = verify(file.path()) {
                assert_ne!(footer, made, "byte {place}");
            }
            std::fs::write(file.path(), &whole[..place]).unwrap();
            assert!(verify(file.path()).is_err(), "cut at {place}");
        }
    }
}
