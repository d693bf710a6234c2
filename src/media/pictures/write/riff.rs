//! Chunks of a RIFF file, as WebP has them.

use std::io::{Seek, SeekFrom, Write};

/// `RIFF`, size, `WEBP`.
const HEAD: u64 = 12;

/// Appends a chunk: name, length, content, and a byte where that makes the length even.
pub(super) fn chunk(out: &mut impl Write, name: &[u8; 4], content: &[u8]) -> std::io::Result<()> {
    out.write_all(name)?;
    out.write_all(&(content.len() as u32).to_le_bytes())?;
    out.write_all(content)?;
    out.write_all(&[0][..content.len() % 2])
}

/// Leaves room for the file's head.
pub(super) fn begin(out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(b"RIFF\0\0\0\0WEBP")
}

/// Writes how long the file has become.
pub(super) fn end(out: &mut (impl Write + Seek)) -> std::io::Result<()> {
    let length = out.stream_position()?;
    out.seek(SeekFrom::Start(4))?;
    out.write_all(&((length - HEAD + 4) as u32).to_le_bytes())?;
    out.seek(SeekFrom::Start(length)).map(|_| ())
}

/// The chunks of a whole WebP file that hold its pixels, as they stand there.
pub(super) fn pixels(file: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = file.get(HEAD as usize..).unwrap_or_default();
    while let Some((head, content)) = rest.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let whole = (8 + size.next_multiple_of(2)).min(rest.len());
        if matches!(&head[..4], b"ALPH" | b"VP8 " | b"VP8L") {
            kept.extend_from_slice(&rest[..whole]);
        }
        rest = content.get(whole - 8..).unwrap_or_default();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_padded_and_found_again() {
        let mut file = std::io::Cursor::new(Vec::new());
        begin(&mut file).unwrap();
        chunk(&mut file, b"VP8X", &[1; 10]).unwrap();
        chunk(&mut file, b"ALPH", &[2; 3]).unwrap();
        chunk(&mut file, b"VP8 ", &[3; 4]).unwrap();
        chunk(&mut file, b"EXIF", &[4; 1]).unwrap();
        end(&mut file).unwrap();
        let file = file.into_inner();
        assert_eq!(file.len() as u32 - 8, u32::from_le_bytes([file[4], file[5], file[6], file[7]]));
        assert_eq!(pixels(&file), b"ALPH\x03\0\0\0\x02\x02\x02\0VP8 \x04\0\0\0\x03\x03\x03\x03");
        assert_eq!(pixels(&file[..20]), b"");
    }
}
