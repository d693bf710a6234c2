//! Where the parts of a file lie: MP4 boxes, Matroska elements, MPEG-TS packets, RIFF chunks; of others, pieces.

use std::ops::Range;

/// MP4 boxes that hold boxes (ISO/IEC 14496-12).
const BOXES: [&[u8; 4]; 11] =
    [b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf", b"udta"];
/// Matroska elements that hold elements: segment, seek head, info, tracks, track entry, video, audio, cluster, block group, cues, cue
/// point, tags, tag (RFC 9559).
const ELEMENTS: [u32; 13] = [
    0x1853_8067,
    0x114D_9B74,
    0x1549_A966,
    0x1654_AE6B,
    0xAE,
    0xE0,
    0xE1,
    0x1F43_B675,
    0xA0,
    0x1C53_BB6B,
    0xBB,
    0x1254_C367,
    0x7373,
];
const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];

/// All parts, those within others too. Never none.
pub fn parts(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if bytes.get(4..8) == Some(b"ftyp") {
        boxes(bytes, 0..bytes.len(), &mut found);
    } else if bytes.starts_with(&EBML) {
        elements(bytes, 0..bytes.len(), &mut found);
    } else if bytes.starts_with(b"RIFF") {
        chunks(bytes, 12..bytes.len(), &mut found);
    } else {
        let piece = if bytes.first() == Some(&0x47) { 188 } else { 512 };
        found.extend((0..bytes.len()).step_by(piece).map(|start| start..(start + piece).min(bytes.len())));
    }
    if found.is_empty() {
        found.push(0..bytes.len());
    }
    found
}

fn boxes(bytes: &[u8], within: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = within.start;
    while let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(start..start + 8).and_then(|head| head.first_chunk::<8>()) {
        let end = start.saturating_add(u32::from_be_bytes([a, b, c, d]) as usize);
        if end < start + 8 || end > within.end {
            return;
        }
        found.push(start..end);
        if BOXES.contains(&&[e, f, g, h]) {
            boxes(bytes, start + 8..end, found);
        }
        start = end;
    }
}

fn elements(bytes: &[u8], within: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = within.start;
    while start < within.end {
        let Some((id, at)) = number(bytes, start, false) else { return };
        let Some((size, at)) = number(bytes, at, true) else { return };
        let end = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(within.end);
        if end <= start {
            return;
        }
        found.push(start..end);
        if ELEMENTS.iter().any(|holder| u64::from(*holder) == id) {
            elements(bytes, at..end, found);
        }
        start = end;
    }
}

/// A variable-size integer and where it ends; an id keeps its marker.
fn number(bytes: &[u8], at: usize, is_size: bool) -> Option<(u64, usize)> {
    let first = *bytes.get(at)?;
    let length = first.leading_zeros() as usize + 1;
    let all = bytes.get(at..at + length).filter(|_| length <= 8)?;
    let value = all.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let mask = if is_size { (1 << (7 * length)) - 1 } else { u64::MAX };
    Some((value & mask, at + length))
}

fn chunks(bytes: &[u8], within: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = within.start;
    while let Some(&[a, b, c, d, e, f, g, h]) = bytes.get(start..start + 8).and_then(|head| head.first_chunk::<8>()) {
        let size = u32::from_le_bytes([e, f, g, h]) as usize;
        let end = start.saturating_add(8).saturating_add(size).saturating_add(size % 2);
        if end > within.end {
            return;
        }
        found.push(start..end);
        if [a, b, c, d] == *b"LIST" {
            chunks(bytes, start + 12..end, found);
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_in_each_container() {
        let mp4 = [&b"\0\0\0\x0cftypisom"[..], b"\0\0\0\x18moov\0\0\0\x08mvhd\0\0\0\x08trak"].concat();
        assert_eq!(parts(&mp4), [0..12, 12..36, 20..28, 28..36]);
        let mkv = [&EBML[..], &[0x81, 0, 0x18, 0x53, 0x80, 0x67, 0x84, 0x16, 0x54, 0xAE, 0x6B]].concat();
        assert_eq!(parts(&mkv), [0..6, 6..15]);
        let avi = b"RIFF\x1c\0\0\0AVI LIST\x10\0\0\0hdrlavih\x04\0\0\0abcd".to_vec();
        assert_eq!(parts(&avi), [12..36, 24..36]);
        assert_eq!(parts(&[0x47; 400]), [0..188, 188..376, 376..400]);
        assert_eq!(parts(b"x").len(), 1);
    }
}
