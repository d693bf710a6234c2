//! Some bytes within what an encoder writes that has no place for them.

use std::io::{Result, Write};

/// Passes everything on, with a piece after the first so many bytes.
pub(super) struct Spliced<W> {
    out: W,
    /// Bytes that still come before the piece.
    before: usize,
    piece: Vec<u8>,
}

impl<W: Write> Spliced<W> {
    pub(super) fn new(out: W, before: usize, piece: Vec<u8>) -> Self {
        Self { out, before, piece }
    }
}

impl<W: Write> Write for Spliced<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.before == 0 {
            self.out.write_all(&std::mem::take(&mut self.piece))?;
            return self.out.write(bytes);
        }
        let written = self.out.write(&bytes[..bytes.len().min(self.before)])?;
        self.before -= written;
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_stands_in_its_place_however_the_rest_is_written() {
        for (before, expected) in [(0, "<>abcdef"), (1, "a<>bcdef"), (4, "abcd<>ef"), (9, "abcdef")] {
            for at_once in 1..=6 {
                let mut out = Vec::new();
                let mut spliced = Spliced::new(&mut out, before, b"<>".to_vec());
                b"abcdef".chunks(at_once).for_each(|bytes| spliced.write_all(bytes).unwrap());
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{at_once} at once");
            }
        }
    }
}
