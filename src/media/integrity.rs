//! Tells a file that was cut off from one that is whole, by what its container promises.
//!
//! Demuxers end at the end of a file without complaint, so a clip cut at 60 % reads like a shorter clip. MP4 boxes,
//! Matroska segments and RIFF chunks say how long they are; that is compared with what is there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Top-level boxes whose end must lie inside the file (ISO/IEC 14496-12). Others may be padding.
const BOXES: [&[u8; 4]; 6] = [b"ftyp", b"moov", b"moof", b"mdat", b"wide", b"free"];
/// Element ids (RFC 8794, RFC 9559).
const EBML_HEADER: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];

/// What is missing from a file that is shorter than its container promises; `None` if nothing is known to be.
pub(super) fn cut_off(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = [0_u8; 12];
    if read_up_to(&mut file, &mut head)? < head.len() {
        return Ok(None);
    }
    if head[..4] == EBML_HEADER {
        return matroska(&mut file, length);
    }
    if head[..4] == *b"RIFF" {
        let promised = 8 + u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        return Ok(shorter("its RIFF chunk", promised, length));
    }
    if BOXES.iter().any(|name| head[4..8] == name[..]) {
        return boxes(&mut file, length);
    }
    Ok(None)
}

/// `what` should end at byte `promised`.
pub(super) fn shorter(what: &str, promised: u64, length: u64) -> Option<String> {
    (promised > length).then(|| format!("{what} reaches to byte {promised}, but the file has {length}"))
}

fn boxes(file: &mut File, length: u64) -> io::Result<Option<String>> {
    let mut start = 0;
    let mut has_index = false;
    while start + 8 <= length {
        file.seek(SeekFrom::Start(start))?;
        let mut header = [0_u8; 16];
        let read = read_up_to(file, &mut header)?;
        let name = [header[4], header[5], header[6], header[7]];
        let size = match u32::from_be_bytes([header[0], header[1], header[2], header[3]]) {
            0 => length - start, // "to the end of the file"
            1 if read == 16 => u64::from_be_bytes(header[8..].try_into().expect("half of sixteen bytes")),
            size => u64::from(size),
        };
        has_index |= name == *b"moov" || name == *b"meta"; // of pictures
        let end = start.saturating_add(size);
        if size < 8 || !BOXES.iter().any(|known| **known == name) && end > length {
            break;
        }
        if let Some(detail) = shorter(&format!("its {} box", String::from_utf8_lossy(&name)), end, length) {
            return Ok(Some(detail));
        }
        start = end;
    }
    Ok((!has_index).then(|| "its index (the moov box) is missing".to_owned()))
}

fn matroska(file: &mut File, length: u64) -> io::Result<Option<String>> {
    file.seek(SeekFrom::Start(4))?;
    let Some(header) = vint(file)? else { return Ok(None) };
    let end = file.stream_position()?.saturating_add(header);
    if end > length {
        return Ok(shorter("its header", end, length));
    }
    file.seek(SeekFrom::Start(end))?;
    let mut id = [0_u8; 4];
    if read_up_to(file, &mut id)? < 4 || id != SEGMENT {
        return Ok(None);
    }
    // A live recording does not know its size.
    let Some(size) = vint(file)? else { return Ok(None) };
    let start = file.stream_position()?;
    Ok(shorter("its segment", start.saturating_add(size), length))
}

/// A variable-size integer; `None` if it says "unknown" (RFC 8794, section 4).
fn vint(file: &mut File) -> io::Result<Option<u64>> {
    let mut first = [0_u8; 1];
    if read_up_to(file, &mut first)? == 0 || first[0] == 0 {
        return Ok(None);
    }
    let extra = first[0].leading_zeros() as usize;
    let mut rest = [0_u8; 7];
    if read_up_to(file, &mut rest[..extra])? < extra {
        return Ok(None);
    }
    let bits = 7 * (extra + 1);
    let head = u64::from(first[0]) & ((1 << (7 - extra)) - 1);
    let value = rest[..extra].iter().fold(head, |value, &byte| value << 8 | u64::from(byte));
    let unknown = (1 << bits) - 1;
    Ok((value != unknown).then_some(value))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mp4_box(name: &[u8; 4], payload: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(8 + payload).unwrap().to_be_bytes().to_vec();
        bytes.extend(name);
        bytes.resize(8 + payload, 0);
        bytes
    }

    #[test]
    fn promises_are_compared_with_what_is_there() {
        let whole = [mp4_box(b"ftyp", 8), mp4_box(b"moov", 16), mp4_box(b"mdat", 100)].concat();
        let late_index = [mp4_box(b"ftyp", 8), mp4_box(b"mdat", 100), mp4_box(b"moov", 16)].concat();
        let to_the_end = [mp4_box(b"ftyp", 8), mp4_box(b"moov", 16), b"\0\0\0\0mdat1234".to_vec()].concat();
        let large = [mp4_box(b"moov", 8), b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x40".to_vec(), vec![0; 48]].concat();
        let mut matroska = [&EBML_HEADER[..], &[0x83, 1, 2, 3], &SEGMENT, &[0x40, 0x20]].concat();
        matroska.resize(matroska.len() + 32, 0);
        let mut live = [&EBML_HEADER[..], &[0x83, 1, 2, 3], &SEGMENT, &[0xFF]].concat();
        live.resize(live.len() + 32, 0);
        let padded = [whole.clone(), b"\xff\xff\xff\xffjunk".to_vec()].concat();

        for (name, bytes, cut) in [
            ("whole", &whole[..], false),
            ("picture", &[mp4_box(b"ftyp", 8), mp4_box(b"meta", 16), mp4_box(b"mdat", 10)].concat(), false),
            ("60 %", &whole[..80], true),
            ("late index", &late_index[..], false),
            ("late index, cut in the data", &late_index[..90], true),
            ("late index, cut before it", &late_index[..124], true),
            ("box to the end", &to_the_end, false),
            ("64-bit size", &large, false),
            ("64-bit size, cut", &large[..60], true),
            ("padding at the end", &padded, false),
            ("a box that ends beyond all numbers", &[&whole[..], b"\0\0\0\x01junk", &[255; 8]].concat(), false),
            ("matroska", &matroska, false),
            ("matroska, cut", &matroska[..30], true),
            ("matroska, cut in its header", &matroska[..6], false),
            (
                "matroska, a header without end",
                &[&EBML_HEADER[..], &[1, 255, 255, 255, 255, 255, 255, 0]].concat(),
                true,
            ),
            ("matroska, live", &live, false),
            ("riff", b"RIFF\x04\0\0\0AVI ", false),
            ("riff, cut", b"RIFF\x44\0\0\0AVI ", true),
            ("text", b"hello, I am a text", false),
            ("short", b"hi", false),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            assert_eq!(cut_off(file.path()).unwrap().is_some(), cut, "{name}");
        }
    }
}
