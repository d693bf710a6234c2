//! What a file says of itself is found by its first and last words, wherever it stands: no knowledge of the format is needed.
//!
//! The XMP Specification, part 3, wants packets to be findable so. Labels also stand in files without XMP: in a comment of EXIF data (TC260-PG-20259A,
//! annex B), in a text of PNG.

use std::io::{ErrorKind, Read, Result};

use super::{Found, aigc, xmp};

/// Longest piece that is looked at, bytes. Packets of cameras and programs have some kilobytes, with a picture's history some hundred.
const PIECE_MAX: usize = 1 << 20;
/// Bytes read at once.
const BLOCK: usize = 64 * 1024;
/// What a piece begins with, and what it then ends with: a packet, the same without its outermost element, a label.
const FORMS: [(&[u8], &[u8]); 3] =
    [(b"<x:xmpmeta", b"</x:xmpmeta>"), (b"<rdf:RDF", b"</rdf:RDF>"), (aigc::BEGINNING, b"}")];
/// Of the beginnings.
const LONGEST: usize = 10;

/// What is said in a text or in the bytes of a file: of what is said twice the first.
///
/// # Errors
/// What `input` says.
pub fn find(input: impl Read) -> Result<Found> {
    let mut found = Found::default();
    let each = &mut |piece: &[u8]| {
        let said = if piece.starts_with(aigc::BEGINNING) { aigc::read(piece) } else { xmp::read(piece) };
        found = std::mem::take(&mut found).or(said);
        !found.is_complete()
    };
    pieces(input, each)?;
    Ok(found)
}

/// Gives each piece to `each` until that says that it has enough (`false`). Reads the input once and keeps a megabyte of it at most; what is
/// longer than that is passed over.
fn pieces(mut input: impl Read, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let mut block = vec![0; BLOCK];
    let mut held: Vec<u8> = Vec::new();
    // While a piece is held: what ends it, and how much of it was searched for that.
    let mut open: Option<(&[u8], usize)> = None;
    loop {
        let read = match input.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        held.extend_from_slice(&block[..read]);
        let mut start = 0;
        loop {
            let rest = &held[start..];
            match open {
                None => match beginning(rest) {
                    Some((at, end)) => (start, open) = (start + at, Some((end, 0))),
                    None => {
                        start += rest.len() - rest.len().min(LONGEST - 1);
                        break;
                    }
                },
                Some((end, searched)) => match place(&rest[searched..], end) {
                    Some(at) => {
                        let length = searched + at + end.len();
                        if !each(&rest[..length]) {
                            return Ok(());
                        }
                        (start, open) = (start + length, None);
                    }
                    None if rest.len() > PIECE_MAX => {
                        (start, open) = (held.len(), None);
                        break;
                    }
                    None => {
                        open = Some((end, rest.len().saturating_sub(end.len() - 1)));
                        break;
                    }
                },
            }
        }
        held.drain(..start);
    }
}

/// Where the first piece begins, and what ends it.
fn beginning(bytes: &[u8]) -> Option<(usize, &'static [u8])> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| matches!(byte, b'<' | b'{')) {
        let here = from + at;
        if let Some((_, end)) = FORMS.iter().find(|(begin, _)| bytes[here..].starts_with(begin)) {
            return Some((here, end));
        }
        from = here + 1;
    }
    None
}

fn place(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of this length.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> Result<usize> {
            let length = self.1.min(into.len()).min(self.0.len());
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn found(bytes: &[u8], piece: usize) -> Vec<String> {
        let mut all = Vec::new();
        let each = &mut |piece: &[u8]| {
            all.push(String::from_utf8_lossy(piece).into_owned());
            true
        };
        pieces(Pieces(bytes, piece), each).unwrap();
        all
    }

    #[test]
    fn pieces_are_found_however_the_file_is_read() {
        let one = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF>1</rdf:RDF></x:xmpmeta>";
        let two = "<rdf:RDF>2</rdf:RDF>";
        let file =
            format!("\0\0<<x:xmp<?xpacket?>{one}\n<?xpacket end='r'?>\u{1}\u{2}{two}<rdf:RD{two}<x:xmpmeta>cut off");
        for piece in [1, 2, 7, 10, 11, 64, 1000, BLOCK] {
            assert_eq!(found(file.as_bytes(), piece), [one, two, two], "{piece} bytes at once");
        }
    }

    #[test]
    fn what_is_too_long_is_passed_over() {
        let long = format!("<rdf:RDF>{}</rdf:RDF>", " ".repeat(PIECE_MAX + BLOCK));
        assert_eq!(found(format!("{long}<rdf:RDF></rdf:RDF>").as_bytes(), BLOCK), ["<rdf:RDF></rdf:RDF>"]);
        let short = format!("<rdf:RDF>{}</rdf:RDF>", " ".repeat(PIECE_MAX - 100));
        assert_eq!(found(short.as_bytes(), BLOCK), [short]);
    }

    #[test]
    fn nobody_reads_on_who_has_enough() {
        let mut seen = 0;
        let each = &mut |_: &[u8]| {
            seen += 1;
            seen < 2
        };
        pieces("<rdf:RDF></rdf:RDF>".repeat(5).as_bytes(), each).unwrap();
        assert_eq!(seen, 2);
    }

    #[test]
    fn labels_are_found_without_xmp() {
        let label = "{\"Label\":\"1\",\"ContentProducer\":\"P\",\"ProduceID\":\"7\"}";
        let found = |file: String| find(file.as_bytes()).unwrap().aigc;
        for file in [
            format!("ASCII\0\0\0{{\"AIGC\":{label}}}"),
            format!("PNG\0\0tEXtAIGC\0{label}IEND"),
            format!("AIGC{label}"),
        ] {
            assert_eq!(found(file.clone()).as_deref(), Some(label), "{file}");
        }
        // Something else that has a label, and no label at all.
        for file in ["{\"Label\":\"1\",\"Size\":\"XL\"}", "{\"Label\":}", "{\"Label\":\"1\"", "{}"] {
            assert_eq!(found(file.to_owned()), None, "{file}");
        }
        let both = format!("{label}<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'></rdf:RDF>");
        assert_eq!(find(both.as_bytes()).unwrap().aigc.as_deref(), Some(label));
    }
}
