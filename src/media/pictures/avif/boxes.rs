//! Bytes of boxes, big-endian; whatever is shorter than its fields is an error.
//!
//! Source: ISO/IEC 14496-12, 4.2.

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It contradicts itself.
    Broken(&'static str),
    /// It is right, and not for us.
    Unsupported(&'static str),
    /// It ends before what it promises.
    Short { found: u64, expected: u64 },
}

/// What is left of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

/// A box: its name and what is in it.
pub(super) type Named<'a> = ([u8; 4], Bytes<'a>);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Fault::Broken("a box is shorter than its fields"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of this many bytes, at most eight.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, Fault> {
        Ok(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.number(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(self.number(4)? as u32)
    }

    pub(super) fn name(&mut self) -> Result<[u8; 4], Fault> {
        self.u32().map(u32::to_be_bytes)
    }

    /// Version and flags of a full box.
    pub(super) fn version(&mut self) -> Result<(u8, u32), Fault> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xFF_FFFF))
    }

    /// The next box; `None` behind the last one.
    pub(super) fn next_box(&mut self) -> Result<Option<Named<'a>>, Fault> {
        if self.is_empty() {
            return Ok(None);
        }
        let whole = self.0.len();
        let size = self.u32()?;
        let name = self.name()?;
        let size = match size {
            0 => whole as u64,
            1 => self.number(8)?,
            size => size.into(),
        };
        let head = whole - self.0.len();
        let content = usize::try_from(size).ok().and_then(|size| size.checked_sub(head));
        let content = content.ok_or(Fault::Broken("a box is shorter than its head"))?;
        Ok(Some((name, Bytes(self.take(content)?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_follow_each_other() {
        let mut bytes = Bytes(b"\0\0\0\x0Aaaaa\x01\x02\0\0\0\x01bbbb\0\0\0\0\0\0\0\x11\x03\0\0\0\0cccc\x04");
        let mut found = Vec::new();
        while let Some((name, content)) = bytes.next_box().unwrap() {
            found.push((name, content.0.to_vec()));
        }
        assert_eq!(found, [(*b"aaaa", vec![1, 2]), (*b"bbbb", vec![3]), (*b"cccc", vec![4])]);
        for bad in
            [&b"\0\0\0"[..], b"\0\0\0\x07aaaa", b"\0\0\0\x09aaaa", b"\0\0\0\x01aaaa\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"]
        {
            assert!(Bytes(bad).next_box().is_err(), "{bad:?}");
        }
    }
}
