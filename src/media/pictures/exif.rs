//! EXIF data that goes over into the output: upright, and without the small picture in it, which shows the face as it was.
//!
//! Source: CIPA DC-008 (Exif 2.3), 4.5 and 4.8; it is a TIFF file of its own.

use image::metadata::Orientation;

/// Tags that say where a thumbnail lies, and how long it is: JPEG's, and strips.
const PLACES: [(u16, u16); 2] = [(0x0201, 0x0202), (0x0111, 0x0117)];

/// Takes the orientation and the thumbnail out.
pub(super) fn cleaned(mut exif: Vec<u8>) -> Vec<u8> {
    let _turned_upright = Orientation::remove_from_exif_chunk(&mut exif);
    if remove_thumbnail(&mut exif).is_none() {
        // What cannot be followed may hold anything.
        exif.clear();
    }
    exif
}

/// `None` if the directory cannot be read.
fn remove_thumbnail(exif: &mut [u8]) -> Option<()> {
    let order = match exif.first_chunk::<4>()? {
        b"II*\0" => Order::Little,
        b"MM\0*" => Order::Big,
        _ => return None,
    };
    let first = order.u32(exif, 4)? as usize;
    let link = first + 2 + 12 * usize::from(order.u16(exif, first)?);
    let second = order.u32(exif, link)? as usize;
    if second == 0 {
        return Some(());
    }
    let entries = usize::from(order.u16(exif, second)?);
    let value = |exif: &[u8], tag: u16| {
        let entry = (0..entries).map(|entry| second + 2 + 12 * entry).find(|&at| order.u16(exif, at) == Some(tag))?;
        // Numbers of 16 bits stand in the first half of their field.
        match order.u16(exif, entry + 2)? {
            3 => order.u16(exif, entry + 8).map(usize::from),
            _ => order.u32(exif, entry + 8).map(|value| value as usize),
        }
    };
    for (place, length) in PLACES {
        if let (Some(place), Some(length)) = (value(exif, place), value(exif, length)) {
            exif.get_mut(place..place.checked_add(length)?)?.fill(0);
        }
    }
    exif.get_mut(second..second + 2 + 12 * entries)?.fill(0);
    exif.get_mut(link..link + 4)?.fill(0);
    Some(())
}

/// Of a number's bytes.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One entry (the orientation) in the first directory, a thumbnail of four bytes in the second.
    fn with_thumbnail() -> Vec<u8> {
        let mut exif = b"II*\0\x08\0\0\0\x01\0".to_vec();
        exif.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"); // orientation 6
        exif.extend(26_u32.to_le_bytes());
        exif.extend(b"\x02\0");
        exif.extend(b"\x01\x02\x04\0\x01\0\0\0");
        exif.extend(56_u32.to_le_bytes());
        exif.extend(b"\x02\x02\x04\0\x01\0\0\0");
        exif.extend(4_u32.to_le_bytes());
        exif.extend([0; 4]);
        exif.extend(b"FACE");
        exif
    }

    #[test]
    fn neither_orientation_nor_thumbnail_stay() {
        let exif = with_thumbnail();
        assert_eq!(exif.len(), 60);
        let cleaned = cleaned(exif.clone());
        assert_eq!(Orientation::from_exif_chunk(&cleaned), Some(Orientation::NoTransforms));
        assert_eq!(&cleaned[22..], [0; 38], "no second directory, no picture");
        assert_eq!(cleaned[..18], exif[..18]);
    }

    #[test]
    fn what_cannot_be_followed_is_left_out() {
        let mut lost = with_thumbnail();
        lost[22] = 200;
        let mut long = with_thumbnail();
        long[48..52].copy_from_slice(&u32::MAX.to_le_bytes());
        for exif in [&b""[..], b"II*\0", b"no exif", &lost, &long] {
            assert_eq!(cleaned(exif.to_vec()), b"", "{exif:?}");
        }
    }
}
