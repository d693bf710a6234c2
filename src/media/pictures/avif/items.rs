//! The items of a HEIF file: what they are, where their bytes lie, what is said about them and how they refer to each other.
//!
//! Sources: ISO/IEC 14496-12, 8.11; ISO/IEC 23008-12, 6.5; AV1-ISOBMFF, 2.3.

use std::collections::BTreeMap;

use super::boxes::{Bytes, Fault};

/// What `meta` says.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub primary: u32,
    items: BTreeMap<u32, Item>,
    properties: Vec<Property>,
    references: Vec<Reference>,
    /// Bytes that lie within `meta`.
    data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Item {
    kind: [u8; 4],
    place: Option<Place>,
    /// Index into the properties, and whether nobody who does not know it may show the item; in the order in which they apply.
    properties: Vec<(usize, bool)>,
}

#[derive(Debug)]
struct Place {
    within_meta: bool,
    /// Offset and length; without a length to the end.
    extents: Vec<(u64, Option<u64>)>,
}

#[derive(Debug)]
struct Reference {
    kind: [u8; 4],
    from: u32,
    to: Vec<u32>,
}

/// What is said about an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Property {
    /// `ispe`: width and height, pixels.
    Size(u32, u32),
    /// `av1C`.
    Coded { bits: u8, is_grey: bool },
    /// `colr` `nclx`: codes of ITU-T H.273.
    Color { primaries: u16, transfer: u16, matrix: u16, is_full: bool },
    /// `colr` `prof` or `rICC`.
    Icc(Vec<u8>),
    /// `irot`: quarter turns against the clock.
    Turn(u8),
    /// `imir`: left and right are exchanged, or else top and bottom.
    Mirror { sideways: bool },
    /// `clap`: width, height, horizontal and vertical offset of the middle, a numerator and a denominator each.
    Crop([u32; 8]),
    /// `auxC` of an alpha plane.
    Alpha,
    /// Of no consequence for the pixels.
    Aside,
    /// Something else.
    Unknown,
}

/// Where some of an item's bytes lie.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extent<'a> {
    Here(&'a [u8]),
    /// Offset and length in the file.
    InFile(u64, u64),
}

impl Items {
    /// From the content of `meta`.
    pub(super) fn read(mut meta: Bytes<'_>) -> Result<Self, Fault> {
        let (_, mut items) = (meta.version()?, Self::default());
        let mut primary = None;
        while let Some((name, mut content)) = meta.next_box()? {
            match &name {
                b"pitm" => {
                    let (version, _) = content.version()?;
                    primary = Some(id(&mut content, version > 0)?);
                }
                b"iinf" => items.kinds(content)?,
                b"iloc" => items.places(content)?,
                b"iref" => items.references(content)?,
                b"iprp" => items.described(content)?,
                b"idat" => items.data = content.0.to_vec(),
                _ => {}
            }
        }
        items.primary = primary.ok_or(Fault::Broken("it says not which of its items is the picture"))?;
        Ok(items)
    }

    fn kinds(&mut self, mut content: Bytes<'_>) -> Result<(), Fault> {
        let (version, _) = content.version()?;
        let _count = id(&mut content, version > 0)?;
        while let Some((name, mut entry)) = content.next_box()? {
            let (version, _) = entry.version()?;
            if &name != b"infe" || version < 2 {
                continue;
            }
            let id = id(&mut entry, version > 2)?;
            let protection = entry.u16()?;
            let kind = entry.name()?;
            if protection == 0 {
                self.items.entry(id).or_default().kind = kind;
            }
        }
        Ok(())
    }

    fn places(&mut self, mut content: Bytes<'_>) -> Result<(), Fault> {
        let (version, _) = content.version()?;
        if version > 2 {
            return Err(Fault::Unsupported("its items are located in an unknown way"));
        }
        let sizes = content.u16()?;
        let [offset_size, length_size, base_size, index_size] =
            [12, 8, 4, 0].map(|shift| usize::from(sizes >> shift & 0xF));
        let index_size = if version == 0 { 0 } else { index_size };
        if [offset_size, length_size, base_size, index_size].iter().any(|size| ![0, 4, 8].contains(size)) {
            return Err(Fault::Broken("a number is neither 4 nor 8 bytes long"));
        }
        for _ in 0..id(&mut content, version > 1)? {
            let id = id(&mut content, version > 1)?;
            let method = if version > 0 { content.u16()? & 0xF } else { 0 };
            let file = content.u16()?;
            let base = content.number(base_size)?;
            let mut extents = Vec::new();
            let count = content.u16()?;
            if count > 0 && offset_size + length_size + index_size == 0 {
                return Err(Fault::Broken("parts of an item have no place"));
            }
            for _ in 0..count {
                content.number(index_size)?;
                let offset = base.checked_add(content.number(offset_size)?);
                let offset = offset.ok_or(Fault::Broken("an item lies beyond all numbers"))?;
                extents.push((offset, if length_size == 0 { None } else { Some(content.number(length_size)?) }));
            }
            // Items in other files, and those made of other items, are nothing that a picture needs.
            if file == 0 && method < 2 {
                self.items.entry(id).or_default().place = Some(Place { within_meta: method == 1, extents });
            }
        }
        Ok(())
    }

    fn references(&mut self, mut content: Bytes<'_>) -> Result<(), Fault> {
        let (version, _) = content.version()?;
        while let Some((kind, mut entry)) = content.next_box()? {
            let from = id(&mut entry, version > 0)?;
            let count = entry.u16()?;
            let to = (0..count).map(|_| id(&mut entry, version > 0)).collect::<Result<_, _>>()?;
            self.references.push(Reference { kind, from, to });
        }
        Ok(())
    }

    fn described(&mut self, mut content: Bytes<'_>) -> Result<(), Fault> {
        while let Some((name, mut content)) = content.next_box()? {
            match &name {
                b"ipco" => {
                    while let Some((name, content)) = content.next_box()? {
                        self.properties.push(Property::read(name, content)?);
                    }
                }
                b"ipma" => {
                    let (version, flags) = content.version()?;
                    for _ in 0..content.u32()? {
                        let id = id(&mut content, version > 0)?;
                        let count = content.u8()?;
                        let item = self.items.entry(id).or_default();
                        for _ in 0..count {
                            let (word, essential) =
                                if flags & 1 == 1 { (content.u16()?, 0x8000) } else { (content.u8()?.into(), 0x80) };
                            // Counted from 1.
                            if let Some(index) = usize::from(word & (essential - 1)).checked_sub(1) {
                                item.properties.push((index, word & essential != 0));
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Four characters; zeros for an item that is not there.
    pub(super) fn kind(&self, id: u32) -> [u8; 4] {
        self.items.get(&id).map_or([0; 4], |item| item.kind)
    }

    /// In the order in which they apply.
    pub(super) fn properties(&self, id: u32) -> impl Iterator<Item = &Property> {
        self.associations(id).map(|(property, _)| property)
    }

    /// Whether the item has a property that must be understood, and is not.
    pub(super) fn is_beyond_us(&self, id: u32) -> bool {
        self.associations(id).any(|(property, is_essential)| is_essential && *property == Property::Unknown)
    }

    fn associations(&self, id: u32) -> impl Iterator<Item = (&Property, bool)> {
        let associated = self.items.get(&id).map_or(&[][..], |item| &item.properties);
        associated.iter().filter_map(|&(index, essential)| Some((self.properties.get(index)?, essential)))
    }

    /// What an item refers to, in order.
    pub(super) fn referred(&self, kind: [u8; 4], from: u32) -> impl Iterator<Item = u32> {
        let wanted = self.references.iter().filter(move |reference| reference.kind == kind && reference.from == from);
        wanted.flat_map(|reference| reference.to.iter().copied())
    }

    /// The items that refer to one, each with all that it refers to.
    pub(super) fn referring(&self, kind: [u8; 4]) -> impl Iterator<Item = (u32, &[u32])> {
        let wanted = self.references.iter().filter(move |reference| reference.kind == kind);
        wanted.map(|reference| (reference.from, &reference.to[..]))
    }

    /// Where an item's bytes lie in a file of this length.
    pub(super) fn extents(&self, id: u32, file: u64) -> Result<Vec<Extent<'_>>, Fault> {
        let place = self.items.get(&id).and_then(|item| item.place.as_ref());
        let place = place.ok_or(Fault::Broken("a part of the picture lies nowhere"))?;
        let all = if place.within_meta { self.data.len() as u64 } else { file };
        let mut extents = Vec::new();
        let mut total = 0_u64;
        for &(offset, length) in &place.extents {
            let length = length.unwrap_or_else(|| all.saturating_sub(offset));
            let end = offset.checked_add(length).ok_or(Fault::Broken("an item lies beyond all numbers"))?;
            if end > all {
                return Err(Fault::Short { found: file, expected: end });
            }
            total = total.saturating_add(length);
            extents.push(match place.within_meta {
                true => Extent::Here(&self.data[offset as usize..end as usize]),
                false => Extent::InFile(offset, length),
            });
        }
        match total {
            0 => Err(Fault::Broken("a part of the picture is empty")),
            _ if total > all => Err(Fault::Broken("parts of an item lie upon each other")),
            _ => Ok(extents),
        }
    }
}

impl Property {
    fn read(name: [u8; 4], mut content: Bytes<'_>) -> Result<Self, Fault> {
        Ok(match &name {
            b"ispe" => {
                content.version()?;
                Self::Size(content.u32()?, content.u32()?)
            }
            b"av1C" => {
                content.u16()?;
                let flags = content.u8()?;
                let bits = match (flags & 0x40 != 0, flags & 0x20 != 0) {
                    (false, _) => 8,
                    (true, false) => 10,
                    (true, true) => 12,
                };
                Self::Coded { bits, is_grey: flags & 0x10 != 0 }
            }
            b"colr" => match &content.name()? {
                b"nclx" => Self::Color {
                    primaries: content.u16()?,
                    transfer: content.u16()?,
                    matrix: content.u16()?,
                    is_full: content.u8()? & 0x80 != 0,
                },
                b"prof" | b"rICC" => Self::Icc(content.0.to_vec()),
                _ => Self::Unknown,
            },
            b"irot" => Self::Turn(content.u8()? & 3),
            b"imir" => Self::Mirror { sideways: content.u8()? & 1 == 1 },
            b"clap" => {
                let mut numbers = [0; 8];
                for number in &mut numbers {
                    *number = content.u32()?;
                }
                Self::Crop(numbers)
            }
            b"auxC" => {
                content.version()?;
                let urn = content.0.split(|byte| *byte == 0).next().unwrap_or_default();
                match urn {
                    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha" | b"urn:mpeg:hevc:2015:auxid:1" => Self::Alpha,
                    _ => Self::Unknown,
                }
            }
            b"pixi" | b"pasp" | b"clli" | b"mdcv" | b"amve" | b"a1lx" => Self::Aside,
            _ => Self::Unknown,
        })
    }
}

fn id(content: &mut Bytes<'_>, is_long: bool) -> Result<u32, Fault> {
    if is_long { content.u32() } else { content.u16().map(u32::from) }
}
