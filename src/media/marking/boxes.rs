//! Keys in `moov.udta` of MP4 and MOV, put where the muxer has written something of the same length.
//!
//! Sources: ISO/IEC 14496-12, 4.2; QuickTime File Format, "Metadata"; TC260-PG-20257A, 6.1, whose own example FFmpeg writes.

use std::io::{Read, Result, Seek, SeekFrom};

/// What room is made of: no XMP, and nothing that anybody writes so often into keywords.
const FILLER: u8 = b'~';
/// Version and flags.
const FULL: [u8; 4] = [0; 4];
/// Of a value: UTF-8, of no country.
const UTF8: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 0];
/// Bytes of a box without its content.
const HEAD: usize = 8;
/// …of `data`: that, and what kind of value it is.
const DATA_HEAD: usize = HEAD + UTF8.len();

/// One key with its value, as `meta` of handler `mdta` holds them.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

impl Keys<'_> {
    fn bytes(self) -> Vec<u8> {
        let handler = boxed(b"hdlr", &[&FULL, &[0; 4], b"mdta", &[0; 13]]);
        let one = 1_u32.to_be_bytes();
        let keys = boxed(b"keys", &[&FULL, &one, &boxed(b"mdta", &[self.name.as_bytes()])]);
        let list = boxed(b"ilst", &[&boxed(&one, &[&boxed(b"data", &[&UTF8, self.value.as_bytes()])])]);
        boxed(b"meta", &[&FULL, &handler, &keys, &list])
    }
}

/// A text as long as the keys will be.
pub(super) fn room(keys: Keys<'_>) -> String {
    char::from(FILLER).to_string().repeat(keys.bytes().len())
}

/// Where the content of a box lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub start: u64,
    pub length: u64,
}

/// `udta` of the movie. Only the heads of boxes are read.
pub(super) fn find_udta(file: &mut (impl Read + Seek), length: u64) -> Result<Option<Place>> {
    let Some(moov) = child(file, Place { start: 0, length }, b"moov")? else { return Ok(None) };
    child(file, moov, b"udta")
}

fn child(file: &mut (impl Read + Seek), within: Place, name: &[u8; 4]) -> Result<Option<Place>> {
    let (mut at, end) = (within.start, within.start + within.length);
    while at + 16 <= end {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut head))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
        let (size, head_size) = match number(&head[..4]) {
            0 => (end - at, 8),
            1 => (number(&head[8..]), 16),
            size => (size, 8),
        };
        if size < head_size || size > end - at {
            return Ok(None);
        }
        if &head[4..8] == name {
            return Ok(Some(Place { start: at + head_size, length: size - head_size }));
        }
        at += size;
    }
    Ok(None)
}

/// The content of `udta`.
pub(super) struct Udta<'a>(pub &'a [u8]);

impl Udta<'_> {
    /// The same, as long as before, with these keys in place of the [`room`] for them: at its end, since readers of iTunes' tags take the first
    /// `meta`. `None` if there is no such room.
    pub(super) fn with(&self, keys: Keys<'_>) -> Option<Vec<u8>> {
        let (keys, room) = (keys.bytes(), room(keys));
        let mut after = Vec::with_capacity(self.0.len());
        let mut has_found = false;
        for (name, whole) in children(self.0)? {
            let without = match &name {
                b"XMP_" => without_end(&whole[HEAD..], &room).map(|packet| boxed(b"XMP_", &[packet])),
                b"meta" => tags_without(whole, &room),
                _ => None,
            };
            has_found |= without.is_some();
            after.extend_from_slice(without.as_deref().unwrap_or(whole));
        }
        after.extend_from_slice(&keys);
        let left = self.0.len().checked_sub(after.len()).filter(|left| has_found && (*left == 0 || *left >= HEAD))?;
        if left > 0 {
            after.extend(boxed(b"free", &[&vec![0; left - HEAD]]));
        }
        Some(after)
    }
}

/// iTunes' tags without the room; nothing at all if there are no others.
fn tags_without(meta: &[u8], room: &str) -> Option<Vec<u8>> {
    let mut rest = Vec::new();
    let mut has_tags = false;
    let mut has_found = false;
    for (name, whole) in children(meta.get(HEAD + FULL.len()..)?)? {
        if &name != b"ilst" {
            rest.extend_from_slice(whole);
            continue;
        }
        let mut list = Vec::new();
        for (name, item) in children(&whole[HEAD..])? {
            let value = item.get(HEAD + DATA_HEAD..).unwrap_or_default();
            match without_end(value, room).filter(|_| &name == b"keyw") {
                None => list.extend_from_slice(item),
                Some(kept) => {
                    has_found = true;
                    if !kept.is_empty() {
                        list.extend(boxed(&name, &[&boxed(b"data", &[&item[HEAD + HEAD..HEAD + DATA_HEAD], kept])]));
                    }
                }
            }
        }
        has_tags = !list.is_empty();
        rest.extend(boxed(b"ilst", &[&list]));
    }
    let tags = if has_tags { boxed(b"meta", &[&FULL, &rest]) } else { Vec::new() };
    has_found.then_some(tags)
}

fn without_end<'a>(value: &'a [u8], room: &str) -> Option<&'a [u8]> {
    value.strip_suffix(room.as_bytes())
}

/// The boxes within one, whole, with their names; what a muxer ends `udta` with (four zeros, in QuickTime) stands under no name.
fn children(mut content: &[u8]) -> Option<Vec<([u8; 4], &[u8])>> {
    let mut found = Vec::new();
    while let Some((size, rest)) = content.split_first_chunk::<4>() {
        let Some(name) = rest.first_chunk::<4>() else { break };
        let size = u32::from_be_bytes(*size) as usize;
        let (whole, rest) = content.split_at_checked(size).filter(|_| size >= HEAD)?;
        found.push((*name, whole));
        content = rest;
    }
    if !content.is_empty() {
        found.push(([0; 4], content));
    }
    Some(found)
}

pub(super) fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = HEAD + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(size);
    bytes.extend((size as u32).to_be_bytes());
    bytes.extend(name);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys<'_> = Keys { name: "AIGC", value: "{}" };

    fn tag(name: &[u8; 4], value: &str) -> Vec<u8> {
        boxed(name, &[&boxed(b"data", &[&UTF8, value.as_bytes()])])
    }

    /// iTunes' tags as FFmpeg writes them.
    fn tags(items: &[Vec<u8>]) -> Vec<u8> {
        let handler = boxed(b"hdlr", &[&FULL, &[0; 4], b"mdirappl", &[0; 9]]);
        boxed(b"meta", &[&FULL, &handler, &boxed(b"ilst", &[&items.concat()])])
    }

    fn padding(length: usize) -> Vec<u8> {
        boxed(b"free", &[&vec![0; length - HEAD]])
    }

    #[test]
    fn keys_take_the_place_of_their_room() {
        let room = room(KEYS);
        let keys = KEYS.bytes();
        assert_eq!(room.len(), keys.len());
        let chapters = boxed(b"chpl", &[b"one"]);
        let title = tag(b"\xA9nam", "Title");
        let check = |before: &[&[u8]], after: &[&[u8]]| {
            let (before, after) = (before.concat(), after.concat());
            assert_eq!(before.len(), after.len());
            assert_eq!(Udta(&before).with(KEYS), Some(after));
        };
        // Keywords of the clip's own, other tags alone, no tags, MOV.
        let with_own = tags(&[title.clone(), tag(b"keyw", &format!("mine{room}"))]);
        check(&[&with_own, &chapters], &[&tags(&[title.clone(), tag(b"keyw", "mine")]), &chapters, &keys]);
        let with_title = tags(&[title.clone(), tag(b"keyw", &room)]);
        check(&[&with_title, &chapters], &[&tags(&[title]), &chapters, &keys, &padding(24)]);
        check(&[&tags(&[tag(b"keyw", &room)])], &[&keys, &padding(77)]);
        let packet = |room: &str| boxed(b"XMP_", &[b"<x/>", room.as_bytes()]);
        check(&[&chapters, &packet(&room)], &[&chapters, &packet(""), &keys]);
    }

    #[test]
    fn without_room_there_are_no_keys() {
        let room = room(KEYS);
        let shorter = &room[1..];
        for content in [
            vec![],
            tags(&[tag(b"keyw", shorter)]),
            tags(&[tag(b"\xA9nam", &room)]),
            boxed(b"XMP_", &[b"<x/>"]),
            boxed(b"udta", &[room.as_bytes()]),
            tags(&[tag(b"keyw", &room)])[..40].to_vec(),
        ] {
            assert_eq!(Udta(&content).with(KEYS), None, "{content:?}");
        }
    }

    #[test]
    fn user_data_is_found_in_the_movie() {
        let udta = boxed(b"udta", &[b"12345678"]);
        let long = [&[0, 0, 0, 1][..], b"mdat", &[0, 0, 0, 0, 0, 0, 0, 20], b"data"].concat();
        let movie = boxed(b"moov", &[&boxed(b"trak", &[&boxed(b"udta", &[b"of a track"])]), &udta]);
        let check = |parts: &[&[u8]], expected: Option<u64>| {
            let file = parts.concat();
            let found = find_udta(&mut std::io::Cursor::new(&file), file.len() as u64).unwrap();
            assert_eq!(found, expected.map(|start| Place { start, length: 8 }), "{file:?}");
        };
        check(&[&boxed(b"ftyp", &[]), &long, &movie], Some(8 + 20 + 8 + 26 + 8));
        check(&[&udta, &long], None);
        check(&[&movie[..movie.len() - 1]], None);
        check(&[b"\0\0\0\x07moov", &movie], None);
        check(&[], None);
    }
}
