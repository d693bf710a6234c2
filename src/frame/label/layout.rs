//! Where each character of a label stands. Lengths are heights of a sample, which is taken to be square here.

use super::Wording;
use super::font::{advance, ink, is_wide, letter_height};

/// Between the text and the edges of the picture, share of the shorter side.
const MARGIN: f32 = 0.04;
/// From one line to the next, em.
const LINE: f32 = 1.25;
/// What does not fit becomes smaller by this factor, again and again.
const SMALLER: f32 = 0.96;
/// So often at most: then it is a hundredth of what it was.
const TRIES: usize = 113;

/// A text in its lines.
#[derive(Debug)]
pub(super) struct Layout {
    /// Side of an em.
    pub em: f32,
    /// How much smaller it had to become: 1 if not at all.
    pub shrunk: f32,
    /// Characters, each with the place of its origin, x and y, in the picture as shown.
    pub characters: Vec<(char, (f32, f32))>,
}

impl Layout {
    /// Sets `wording` in a picture of this width and height.
    pub fn new(wording: &Wording<'_>, (width, height): (f32, f32)) -> Self {
        let Wording { text, place, height: share } = *wording;
        let shorter = width.min(height);
        let margin = MARGIN * shorter;
        let room = (width - 2.0 * margin, height - 2.0 * margin);
        let wanted = share as f32 * shorter / letter_height(text);
        let letters: Vec<Letter> = text.chars().map(Letter::new).collect();
        let mut shrunk = 1.0;
        let mut block = Block::new(&letters, room.0 / wanted);
        for _ in 0..TRIES {
            let em = shrunk * wanted;
            if block.width() * em <= room.0 && block.height() * em <= room.1 {
                break;
            }
            shrunk *= SMALLER;
            block = Block::new(&letters, room.0 / (shrunk * wanted));
        }

        let em = shrunk * wanted;
        let (from_left, from_top) = place.shares();
        let top = margin + from_top * (room.1 - block.height() * em) - block.top * em;
        let mut characters = Vec::with_capacity(letters.len());
        for (number, line) in block.lines.iter().enumerate() {
            let left = margin + from_left * (room.0 - line.width() * em) - line.left * em;
            let baseline = top + number as f32 * LINE * em;
            let mut x = 0.0;
            for letter in line.letters {
                characters.push((letter.character, (left + x * em, baseline)));
                x += letter.advance;
            }
        }
        Self { em, shrunk, characters }
    }
}

/// A character and its measures, em; see [`ink`] and [`advance`].
#[derive(Debug)]
struct Letter {
    character: char,
    advance: f32,
    ink: Option<[f32; 4]>,
}

impl Letter {
    fn new(character: char) -> Self {
        Self { character, advance: advance(character), ink: ink(character) }
    }

    fn is_space(&self) -> bool {
        self.character.is_whitespace()
    }
}

/// A line by itself; lengths in em, its origin at 0.
#[derive(Debug)]
struct Line<'a> {
    letters: &'a [Letter],
    /// Where ink begins and ends.
    left: f32,
    right: f32,
}

impl<'a> Line<'a> {
    /// Of these letters, without the spaces around them.
    fn new(letters: &'a [Letter]) -> Self {
        let first = letters.iter().position(|letter| !letter.is_space()).unwrap_or(letters.len());
        let end = letters.iter().rposition(|letter| !letter.is_space()).map_or(first, |last| last + 1);
        let letters = &letters[first..end];
        let (mut left, mut right, mut x) = (f32::INFINITY, f32::NEG_INFINITY, 0.0);
        for letter in letters {
            if let Some([from, _, to, _]) = letter.ink {
                (left, right) = (left.min(x + from), right.max(x + to));
            }
            x += letter.advance;
        }
        let is_blank = left > right;
        let (left, right) = if is_blank { (0.0, 0.0) } else { (left, right) };
        Self { letters, left, right }
    }

    fn width(&self) -> f32 {
        self.right - self.left
    }
}

/// Lines below each other; lengths in em, the first baseline at 0.
#[derive(Debug)]
struct Block<'a> {
    lines: Vec<Line<'a>>,
    /// Where ink begins, and ends.
    top: f32,
    bottom: f32,
}

impl<'a> Block<'a> {
    /// Fills lines as wide as `room`, one after the other. What cannot be broken and is wider than that stands alone, and too wide.
    fn new(letters: &'a [Letter], room: f32) -> Self {
        let mut lines = Vec::new();
        let (mut start, mut fits_to) = (0, 0);
        for end in breaks(letters) {
            if fits_to > start && Line::new(&letters[start..end]).width() > room {
                lines.push(Line::new(&letters[start..fits_to]));
                start = fits_to;
            }
            fits_to = end;
        }
        lines.push(Line::new(&letters[start..]));

        let (mut top, mut bottom) = (f32::INFINITY, f32::NEG_INFINITY);
        for (number, line) in lines.iter().enumerate() {
            let baseline = number as f32 * LINE;
            for [_, from, _, to] in line.letters.iter().filter_map(|letter| letter.ink) {
                (top, bottom) = (top.min(baseline + from), bottom.max(baseline + to));
            }
        }
        let is_blank = top > bottom;
        let (top, bottom) = if is_blank { (0.0, 0.0) } else { (top, bottom) };
        Self { lines, top, bottom }
    }

    fn width(&self) -> f32 {
        self.lines.iter().map(Line::width).fold(0.0, f32::max)
    }

    fn height(&self) -> f32 {
        self.bottom - self.top
    }
}

/// What must not stand at the beginning of a line: closing and small signs. After JIS X 4051, the commonest of them.
const CLOSING: &str = "、。，．,.:;!?)]}·・：；！？）］｝」』】〉》〕”’…ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ%％";
/// What must not stand at its end: opening signs.
const OPENING: &str = "([{（［｛「『【〈《〔“‘";

/// Where lines may end: behind words with their spaces, behind single ideographs, and behind the last letter.
fn breaks(letters: &[Letter]) -> Vec<usize> {
    let pairs = letters.windows(2).enumerate();
    let within = pairs.filter(|(_, pair)| may_break(pair[0].character, pair[1].character)).map(|(at, _)| at + 1);
    within.chain([letters.len()]).collect()
}

fn may_break(before: char, after: char) -> bool {
    // A no-break space is none here.
    let is_space = |character: char| matches!(character, ' ' | '\u{3000}');
    if is_space(after) || CLOSING.contains(after) || OPENING.contains(before) {
        return false;
    }
    is_space(before) || is_wide(before) || is_wide(after)
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_between_ideographs() {
        let check = |text: &str, expected: &[&str]| {
            let letters: Vec<Letter> = text.chars().map(Letter::new).collect();
            let mut parts = Vec::new();
            let mut start = 0;
            for end in breaks(&letters) {
                parts.push(letters[start..end].iter().map(|letter| letter.character).collect::<String>());
                start = end;
            }
            assert_eq!(parts, expected, "{text}");
        };
        check("AI-generated", &["AI-generated"]);
        check("made with AI", &["made ", "with ", "AI"]);
        check("AI生成 · 合成", &["AI", "生", "成 · ", "合", "成"]);
        check("「人工」，合。", &["「人", "工」，", "合。"]);
        check("a\u{a0}b c", &["a\u{a0}b ", "c"]);
        check("", &[""]);
    }

    fn layout(text: &str, height: f64, size: (f32, f32)) -> Layout {
        Layout::new(&Wording { text, place: Place::BottomRight, height }, size)
    }

    fn baselines(layout: &Layout) -> usize {
        let mut rows: Vec<i32> = layout.characters.iter().map(|(_, (_, y))| y.round() as i32).collect();
        rows.dedup();
        rows.len()
    }

    #[test]
    fn what_is_too_wide_is_broken_and_then_made_smaller() {
        let short = layout("AI-generated", 0.05, (640.0, 360.0));
        assert_eq!((baselines(&short), short.shrunk), (1, 1.0));
        let long = "This video was made with artificial intelligence. 本视频由人工智能合成，人物面部已被替换。";
        let broken = layout(long, 0.05, (360.0, 640.0));
        assert!(baselines(&broken) > 2 && broken.shrunk == 1.0, "{broken:?}");
        assert_eq!(broken.em, short.em);
        // A word that no line holds.
        let word = layout("Donaudampfschifffahrtsgesellschaft", 0.3, (640.0, 360.0));
        assert!(baselines(&word) == 1 && word.shrunk < 0.5, "{word:?}");
        // Lines that are too many.
        let tall = layout(long, 0.5, (640.0, 360.0));
        assert!(tall.shrunk < 0.5 && tall.shrunk > 0.02, "{}", tall.shrunk);
        for (layout, size) in
            [(short, (640.0, 360.0)), (broken, (360.0, 640.0)), (word, (640.0, 360.0)), (tall, (640.0, 360.0))]
        {
            for (character, (x, y)) in layout.characters {
                let Some(ink) = ink(character) else { continue };
                let [left, top, right, bottom] = ink.map(|edge| edge * layout.em);
                let is_inside =
                    x + left > 14.0 && y + top > 14.0 && x + right < size.0 - 14.0 && y + bottom < size.1 - 14.0;
                assert!(is_inside, "{character} at {x}, {y}");
            }
        }
    }
}
