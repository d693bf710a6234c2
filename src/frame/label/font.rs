//! The font that is built in: Latin, Greek, Cyrillic, Chinese, Japanese and Korean. Where it comes from: `font/NOTICE`.

use std::sync::LazyLock;

use ab_glyph::{Font as _, FontRef, Glyph, OutlinedGlyph, Point, PxScale};

static FONT: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(include_bytes!("font/label.ttf")).expect("the built-in font is whole"));

/// What is missing is glyph 0.
const MISSING: u16 = 0;

/// Whether there is a glyph of this character.
pub(super) fn knows(character: char) -> bool {
    FONT.glyph_id(character).0 != MISSING
}

/// Units of the font in an em.
fn em() -> f32 {
    FONT.units_per_em().expect("the built-in font says its em")
}

/// How far the next character stands from this one, em.
pub(super) fn advance(character: char) -> f32 {
    FONT.h_advance_unscaled(FONT.glyph_id(character)) / em()
}

/// What is inked of a character: left, top, right, bottom, em from its origin on the baseline, y down. `None` for spaces.
pub(super) fn ink(character: char) -> Option<[f32; 4]> {
    let bounds = FONT.outline(FONT.glyph_id(character))?.bounds;
    // Outlines are measured upwards: the upper edge is the larger.
    let (top, bottom) = (bounds.min.y.max(bounds.max.y), bounds.min.y.min(bounds.max.y));
    Some([bounds.min.x / em(), -top / em(), bounds.max.x / em(), -bottom / em()])
}

/// Height of a text's letters, em: of capitals; of ideographs where there is nothing else.
pub(super) fn letter_height(text: &str) -> f32 {
    let has_other = text.chars().any(|character| character.is_alphanumeric() && !is_wide(character));
    let [_, top, _, bottom] = ink(if has_other { 'H' } else { '国' }).expect("the built-in font has letters");
    bottom - top
}

/// Whether lines may break before and after it: ideographs, kana, Hangul and what goes with them.
pub(super) fn is_wide(character: char) -> bool {
    matches!(character, '\u{2E80}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}')
}

/// Its outline at a place, samples; an em is `width` wide and `height` high. `None` for spaces.
pub(super) fn outline(character: char, (width, height): (f32, f32), at: (f32, f32)) -> Option<OutlinedGlyph> {
    // The crate's scale is that of a line, from the top of the highest letter to the bottom of the lowest.
    let line = FONT.height_unscaled() / em();
    let scale = PxScale { x: width * line, y: height * line };
    let glyph = Glyph { id: FONT.glyph_id(character), scale, position: Point { x: at.0, y: at.1 } };
    FONT.outline_glyph(glyph)
}
