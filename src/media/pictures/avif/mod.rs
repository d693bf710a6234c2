//! AVIF stills: the file is read here, its AV1 by FFmpeg's decoder.
//!
//! Of the crates that read AVIF none tells orientation, ICC profile and EXIF data together, or puts grids together (avif-parse 2.1, mp4parse 0.17,
//! `image` 0.25). Sources: AVIF 1.1; ISO/IEC 23008-12 (HEIF), 6.5 and 6.6.2.3; ISO/IEC 23000-22 (MIAF), 7.3.

mod boxes;
mod compose;
mod decode;
mod items;
mod level;
mod turns;
mod yuv;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ffmpeg_next::frame;
use image::ColorType;

use super::Format;
use super::header::{Facts, reader, unreadable, within};
use super::space::Space;
use crate::media::error::MediaError;
use crate::media::probe::{Limits, over_limit};
use crate::media::properties::PictureProperties;
use boxes::{Bytes, Fault};
use decode::Failure;
use items::{Extent, Items, Property};
use turns::Turns;

/// Bytes of `meta`, with profile and EXIF data.
const META_MAX: u64 = 16 << 20;
/// Of transfer characteristics: PQ and HLG.
const HDR: [u16; 2] = [16, 18];

/// Nothing is said of the colours.
const UNKNOWN: PictureProperties =
    PictureProperties { matrix: 2, transfer: 2, primaries: 2, range: 0, ..super::lossless::PICTURE };

/// Whether a file that begins so is an AVIF still. One that moves is none: it goes the way of clips.
pub(super) fn is_still(head: &[u8]) -> bool {
    let Some((size, rest)) = head.split_first_chunk::<4>() else { return false };
    let size = u32::from_be_bytes(*size) as usize;
    let Some(content) = rest.strip_prefix(b"ftyp") else { return false };
    let content = &content[..content.len().min(size.saturating_sub(8))];
    let brands: Vec<&[u8]> =
        content.as_chunks::<4>().0.iter().enumerate().filter(|(place, _)| *place != 1).map(|(_, b)| &b[..]).collect();
    brands.contains(&&b"avif"[..]) && !brands.contains(&&b"avis"[..])
}

/// An AVIF file whose boxes make sense. Nothing is decoded yet.
pub(super) struct Avif {
    path: PathBuf,
    file: BufReader<File>,
    length: u64,
    items: Items,
    color: Plane,
    alpha: Option<Plane>,
}

/// A picture, of one item or of a grid.
#[derive(Debug)]
struct Plane {
    width: u32,
    height: u32,
    tiles: Vec<u32>,
    columns: u32,
    /// Of each tile, pixels.
    tile: (u32, u32),
    bits: u8,
    is_grey: bool,
}

impl Avif {
    pub(super) fn open(path: &Path) -> Result<Self, MediaError> {
        let mut file = reader(path)?;
        let unreadable = |source| MediaError::Unreadable { path: path.to_owned(), source };
        let length = file.get_ref().metadata().map_err(unreadable)?.len();
        let meta = meta(&mut file, length).map_err(|fault| refusal(path, fault))?;
        let items = Items::read(Bytes(&meta)).map_err(|fault| refusal(path, fault))?;
        let plane = Plane { width: 0, height: 0, tiles: vec![], columns: 1, tile: (0, 0), bits: 8, is_grey: false };
        let mut avif = Self { path: path.to_owned(), file, length, items, color: plane, alpha: None };
        avif.planes().map_err(|fault| refusal(path, fault))?;
        Ok(avif)
    }

    fn planes(&mut self) -> Result<(), Fault> {
        let primary = self.items.primary;
        self.color = self.plane(primary)?;
        let is_alpha = |id: u32| self.items.properties(id).any(|property| *property == Property::Alpha);
        let mut alpha = None;
        for (from, to) in self.items.referring(*b"auxl").filter(|(from, _)| is_alpha(*from)) {
            if to.contains(&primary) {
                alpha = Some(from);
            } else if to.iter().any(|id| self.color.tiles.contains(id)) {
                return Err(Fault::Unsupported("its tiles are transparent one by one"));
            }
        }
        self.alpha = alpha.map(|alpha| self.plane(alpha)).transpose()?;
        let sizes =
            [Some(&self.color), self.alpha.as_ref()].map(|plane| plane.map(|plane| (plane.width, plane.height)));
        if sizes[1].is_some() && sizes[0] != sizes[1] {
            return Err(Fault::Unsupported("its transparency is of another size than its colours"));
        }
        for &tile in self.color.tiles.iter().chain(self.alpha.iter().flat_map(|plane| &plane.tiles)) {
            self.items.extents(tile, self.length)?;
        }
        Ok(())
    }

    fn plane(&mut self, id: u32) -> Result<Plane, Fault> {
        let (width, height) = size_of(&self.items, id)?;
        let (tiles, columns) = match &self.items.kind(id) {
            b"av01" => (vec![id], 1),
            b"grid" => self.grid(id, (width, height))?,
            _ => return Err(Fault::Unsupported("it is made neither of AV1 nor of a grid of AV1")),
        };
        let first = *tiles.first().ok_or(Fault::Broken("its grid is empty"))?;
        let tile = size_of(&self.items, first)?;
        for &other in &tiles {
            if &self.items.kind(other) != b"av01" || size_of(&self.items, other)? != tile {
                return Err(Fault::Broken("the tiles of its grid differ"));
            }
            if self.items.is_beyond_us(other) {
                return Err(Fault::Unsupported("it has a property that is not known here"));
            }
        }
        let rows = tiles.len() as u32 / columns;
        let fits = |tile: u32, count: u32, side: u32| {
            let (tile, count, side) = (u64::from(tile), u64::from(count), u64::from(side));
            tile * count >= side && tile * (count - 1) < side
        };
        if !fits(tile.0, columns, width) || !fits(tile.1, rows, height) {
            return Err(Fault::Broken("its grid is not of the size that it says"));
        }
        if self.items.is_beyond_us(id) {
            return Err(Fault::Unsupported("it has a property that is not known here"));
        }
        let coded = self.items.properties(first).find_map(|property| match *property {
            Property::Coded { bits, is_grey } => Some((bits, is_grey)),
            _ => None,
        });
        let (bits, is_grey) = coded.ok_or(Fault::Broken("it says not how it is coded"))?;
        Ok(Plane { width, height, tiles, columns, tile, bits, is_grey })
    }

    /// Tiles, row by row, and how many stand in a row.
    fn grid(&mut self, id: u32, size: (u32, u32)) -> Result<(Vec<u32>, u32), Fault> {
        let content = self.bytes(id)?;
        let mut content = Bytes(&content);
        let (version, flags) = (content.u8()?, content.u8()?);
        let (rows, columns) = (u32::from(content.u8()?) + 1, u32::from(content.u8()?) + 1);
        let field = if flags & 1 == 1 { 4 } else { 2 };
        let said = (content.number(field)?, content.number(field)?);
        let tiles: Vec<u32> = self.items.referred(*b"dimg", id).collect();
        let is_whole = version == 0 && tiles.len() as u32 == rows * columns && said == (size.0.into(), size.1.into());
        is_whole.then_some((tiles, columns)).ok_or(Fault::Broken("its grid does not say the same everywhere"))
    }

    fn bytes(&mut self, id: u32) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        for extent in self.items.extents(id, self.length)? {
            match extent {
                Extent::Here(part) => bytes.extend_from_slice(part),
                Extent::InFile(offset, length) => read_part(&mut self.file, offset, length, &mut bytes)?,
            }
        }
        Ok(bytes)
    }

    /// What the file says. Only one that says nothing of its colours is decoded for it, if it is within the limits.
    pub(super) fn facts(&mut self, limits: &Limits) -> Result<Facts, MediaError> {
        let crop = self.crop().map_err(|fault| refusal(&self.path, fault))?;
        within((crop.2, crop.3), limits)?;
        // All of it is decoded.
        over_limit("number of pixels", u64::from(self.color.width) * u64::from(self.color.height), limits.max_pixels)?;
        let mut turns = Turns::default();
        let mut icc = None;
        for property in self.items.properties(self.items.primary) {
            match property {
                Property::Turn(quarters) => turns.against_the_clock(*quarters),
                Property::Mirror { sideways } => turns.mirror(*sideways),
                Property::Icc(profile) => icc = Some(profile.clone()),
                _ => {}
            }
        }
        let exif = self.exif().map_err(|fault| refusal(&self.path, fault))?;
        Ok(Facts {
            width: crop.2,
            height: crop.3,
            color: self.color_type(),
            bits: self.color.bits,
            orientation: turns.orientation(),
            space: self.space(icc.is_some())?,
            icc,
            exif,
            has_more_pages: false,
        })
    }

    fn color_type(&self) -> ColorType {
        match (self.is_wide(), self.color.is_grey, self.alpha.is_some()) {
            (false, true, false) => ColorType::L8,
            (false, true, true) => ColorType::La8,
            (false, false, false) => ColorType::Rgb8,
            (false, false, true) => ColorType::Rgba8,
            (true, true, false) => ColorType::L16,
            (true, true, true) => ColorType::La16,
            (true, false, false) => ColorType::Rgb16,
            (true, false, true) => ColorType::Rgba16,
        }
    }

    fn is_wide(&self) -> bool {
        self.color.bits > 8
    }

    /// What `nclx` says of the colours, else what the AV1 says.
    fn space(&mut self, has_profile: bool) -> Result<Space, MediaError> {
        let said = self.said(self.items.primary);
        let is_known = said.primaries != 2 && said.transfer != 2;
        let found = match is_known || has_profile {
            true => said,
            false => {
                let (tile, size) = (self.color.tiles[0], self.color.tile);
                said.or(decode::color_of(&self.decoded(tile, size)?))
            }
        };
        yuv::coefficients(found.matrix).and_then(|_| judged(&found)).map_err(|fault| refusal(&self.path, fault))?;
        Ok(Space { primaries: found.primaries as u16, transfer: found.transfer as u16 })
    }

    /// Of an item; unknown where nothing is said.
    fn said(&self, id: u32) -> PictureProperties {
        let color = |property: &Property| match *property {
            Property::Color { primaries, transfer, matrix, is_full } => Some(PictureProperties {
                primaries: primaries.into(),
                transfer: transfer.into(),
                matrix: matrix.into(),
                range: if is_full { 2 } else { 1 },
                ..UNKNOWN
            }),
            _ => None,
        };
        self.items.properties(id).find_map(color).unwrap_or(UNKNOWN)
    }

    /// Left, top, width and height of what is shown of the coded picture.
    fn crop(&self) -> Result<(u32, u32, u32, u32), Fault> {
        let crop = self.items.properties(self.items.primary).find_map(|property| match property {
            Property::Crop(numbers) => Some(numbers),
            _ => None,
        });
        let Some(&[wn, wd, hn, hd, xn, xd, yn, yd]) = crop else {
            return Ok((0, 0, self.color.width, self.color.height));
        };
        let (x, width) = side(self.color.width, (wn, wd), (xn, xd))?;
        let (y, height) = side(self.color.height, (hn, hd), (yn, yd))?;
        Ok((x, y, width, height))
    }

    /// EXIF data as TIFF.
    fn exif(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let primary = self.items.primary;
        let describing = self
            .items
            .referring(*b"cdsc")
            .find(|(from, to)| to.contains(&primary) && &self.items.kind(*from) == b"Exif");
        let Some((id, _)) = describing else { return Ok(None) };
        let mut content = self.bytes(id)?;
        let start = Bytes(&content).u32()? as usize;
        // What cannot be found is not kept.
        let start = start.saturating_add(4);
        Ok((start < content.len()).then(|| content.split_off(start)))
    }

    fn decoded(&mut self, item: u32, size: (u32, u32)) -> Result<frame::Video, MediaError> {
        let bytes = self.bytes(item).map_err(|fault| refusal(&self.path, fault))?;
        decode::decode(&bytes, size).map_err(|failure| match failure {
            Failure::Fault(fault) => refusal(&self.path, fault),
            Failure::Decoder(error) => unreadable(&self.path, Format::Avif, &error.to_string().to_lowercase()),
        })
    }
}

/// Refuses what would be shown wrong.
fn judged(color: &PictureProperties) -> Result<(), Fault> {
    match HDR.iter().any(|hdr| i32::from(*hdr) == color.transfer) {
        true => Err(Fault::Unsupported("it is HDR (PQ or HLG), which only clips can be")),
        false => Ok(()),
    }
}

/// Where a clean aperture begins, and its length; both must be whole. Source: ISO/IEC 14496-12, 12.1.4.
fn side(whole: u32, length: (u32, u32), offset: (u32, u32)) -> Result<(u32, u32), Fault> {
    let broken = Fault::Broken("what it shows of itself lies between its pixels, or outside");
    let (length_den, offset_den) = (i64::from(length.1), i64::from(offset.1));
    if length_den == 0 || offset_den == 0 || i64::from(length.0) % length_den != 0 {
        return Err(broken);
    }
    let length = i64::from(length.0) / length_den;
    // Offsets are signed.
    let twice = (i64::from(whole) - length) * offset_den + 2 * i64::from(offset.0 as i32);
    let start = twice / (2 * offset_den);
    if twice % (2 * offset_den) != 0 || start < 0 || length < 1 || start + length > i64::from(whole) {
        return Err(broken);
    }
    Ok((start as u32, length as u32))
}

/// The content of `meta`.
fn meta(file: &mut BufReader<File>, length: u64) -> Result<Vec<u8>, Fault> {
    let mut at = 0;
    while at + 8 <= length {
        let mut head = Vec::new();
        read_part(file, at, 16.min(length - at), &mut head)?;
        let mut bytes = Bytes(&head);
        let (size, name) = (bytes.u32()?, bytes.name()?);
        let (size, head) = match size {
            0 => (length - at, 8),
            1 => (bytes.number(8)?, 16),
            size => (size.into(), 8),
        };
        let end = at.checked_add(size).filter(|_| size >= head);
        let end = end.ok_or(Fault::Broken("a box is shorter than its head"))?;
        if end > length {
            return Err(Fault::Short { found: length, expected: end });
        }
        if &name == b"meta" {
            if size > META_MAX {
                return Err(Fault::Unsupported("it says more about itself than is read here"));
            }
            let mut content = Vec::new();
            read_part(file, at + head, size - head, &mut content)?;
            return Ok(content);
        }
        at = end;
    }
    Err(Fault::Broken("it has no box that says what it holds"))
}

/// Appends a part of the file.
fn read_part(file: &mut BufReader<File>, offset: u64, length: u64, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let start = bytes.len() as u64;
    let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(length).read_to_end(bytes));
    match read {
        Ok(_) if bytes.len() as u64 == start + length => Ok(()),
        _ => Err(Fault::Broken("a part of it cannot be read")),
    }
}

fn size_of(items: &Items, id: u32) -> Result<(u32, u32), Fault> {
    let size = items.properties(id).find_map(|property| match *property {
        Property::Size(width, height) => Some((width, height)),
        _ => None,
    });
    size.filter(|(width, height)| *width > 0 && *height > 0).ok_or(Fault::Broken("it says not how large it is"))
}

fn refusal(path: &Path, fault: Fault) -> MediaError {
    match fault {
        Fault::Broken(reason) => unreadable(path, Format::Avif, &reason),
        Fault::Unsupported(reason) => MediaError::UnsupportedCodec { codec: Format::Avif.name().to_owned(), reason },
        Fault::Short { found, expected } => {
            let detail = format!("it has {found} bytes of {expected}");
            MediaError::Truncated { path: path.to_owned(), detail, last_good: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_no_still() {
        for (head, expected) in [
            (&b"\0\0\0\x1Cftypavif\0\0\0\0avifmif1miaf"[..], true),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", true),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", false),
            (b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif", false),
            (b"\0\0\0\x18ftypavis\0\0\0\0avifmsf1", false),
            (b"\0\0\0\x18ftypavif\0\0\0\0avifavis", false),
            (b"\0\0\0\x18ftypmp42\0\0\0\0isomavc1", false),
            (b"\0\0\0\x18moov", false),
            (b"\0\0", false),
        ] {
            assert_eq!(is_still(head), expected, "{head:?}");
        }
    }

    #[test]
    fn an_aperture_must_be_of_whole_pixels() {
        let minus = |number: i32| number as u32;
        for (length, offset, expected) in [
            ((40, 1), (0, 1), Some((4, 40))),
            ((40, 1), (minus(-4), 1), Some((0, 40))),
            ((41, 1), (1, 2), Some((4, 41))),
            ((80, 2), (3, 1), Some((7, 40))),
            ((41, 1), (0, 1), None),
            ((40, 1), (5, 1), None),
            ((40, 1), (minus(-5), 1), None),
            ((0, 1), (0, 1), None),
            ((u32::MAX, 1), (0, 1), None),
            ((40, 0), (0, 1), None),
        ] {
            assert_eq!(side(48, length, offset).ok(), expected, "{length:?} {offset:?}");
        }
    }
}
