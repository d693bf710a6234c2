//! XMP packets are found by their first and last words, wherever they stand in a file.
//!
//! The XMP Specification, part 3, wants this to be possible, so that no knowledge of a format is needed to read what is said there.

use std::io::{ErrorKind, Read, Result};

/// Longest packet that is looked at, bytes. Those of cameras and programs have some kilobytes, with a picture's history some hundred.
const PACKET_MAX: usize = 1 << 20;
/// Bytes read at once.
const BLOCK: usize = 64 * 1024;
/// What a packet begins with, and what it then ends with. The second form stands alone where the first is left out, else within it.
const FORMS: [(&[u8], &[u8]); 2] = [(b"<x:xmpmeta", b"</x:xmpmeta>"), (b"<rdf:RDF", b"</rdf:RDF>")];
/// Of the beginnings.
const LONGEST: usize = 10;

/// Gives each packet to `each` until that says that it has enough (`false`). Reads the input once and keeps a megabyte of it at most; what is
/// longer than that is passed over.
///
/// # Errors
/// What `input` says.
pub fn packets(mut input: impl Read, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let mut block = vec![0; BLOCK];
    let mut held: Vec<u8> = Vec::new();
    // While a packet is held: what ends it, and how much of it was searched for that.
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
                Some((end, searched)) => match find(&rest[searched..], end) {
                    Some(at) => {
                        let length = searched + at + end.len();
                        if !each(&rest[..length]) {
                            return Ok(());
                        }
                        (start, open) = (start + length, None);
                    }
                    None if rest.len() > PACKET_MAX => {
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

/// Where the first packet begins, and what ends it.
fn beginning(bytes: &[u8]) -> Option<(usize, &'static [u8])> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'<') {
        let here = from + at;
        if let Some((_, end)) = FORMS.iter().find(|(begin, _)| bytes[here..].starts_with(begin)) {
            return Some((here, end));
        }
        from = here + 1;
    }
    None
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
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
        let each = &mut |packet: &[u8]| {
            all.push(String::from_utf8_lossy(packet).into_owned());
            true
        };
        packets(Pieces(bytes, piece), each).unwrap();
        all
    }

    #[test]
    fn packets_are_found_however_the_file_is_read() {
        let one = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF>1</rdf:RDF></x:xmpmeta>";
        let two = "<rdf:RDF>2</rdf:RDF>";
        let file = format!("\0\0<<x:xmp<?xpacket?>{one}\n<?xpacket end='r'?>\u{1}\u{2}{two}<rdf:RD{two}<x:xmpmeta>cut off");
        for piece in [1, 2, 7, 10, 11, 64, 1000, BLOCK] {
            assert_eq!(found(file.as_bytes(), piece), [one, two, two], "{piece} bytes at once");
        }
    }

    #[test]
    fn what_is_too_long_is_passed_over() {
        let long = format!("<rdf:RDF>{}</rdf:RDF>", " ".repeat(PACKET_MAX + BLOCK));
        assert_eq!(found(format!("{long}<rdf:RDF></rdf:RDF>").as_bytes(), BLOCK), ["<rdf:RDF></rdf:RDF>"]);
        let short = format!("<rdf:RDF>{}</rdf:RDF>", " ".repeat(PACKET_MAX - 100));
        assert_eq!(found(short.as_bytes(), BLOCK), [short]);
    }

    #[test]
    fn nobody_reads_on_who_has_enough() {
        let mut seen = 0;
        let each = &mut |_: &[u8]| {
            seen += 1;
            seen < 2
        };
        packets("<rdf:RDF></rdf:RDF>".repeat(5).as_bytes(), each).unwrap();
        assert_eq!(seen, 2);
    }
}
