//! Labels in pictures of every kind.

use super::*;
use crate::frame::{Frame, Matrix, Pixels, Planes, Transfer};

const LIMITED: Color = Color::sdr(Matrix::Bt709, false);
const HD: (usize, usize) = (640, 360);

fn wording(text: &str, place: Place) -> Wording<'_> {
    Wording { text, place, height: 0.05 }
}

/// A grey picture, coloured so that chroma shows what becomes of it, with a label.
fn drawn<S: Sample>(wording: &Wording<'_>, size: (usize, usize), shift: (u8, u8), color: Color) -> (Frame<S>, Stamp) {
    let mut frame = Frame::<S>::grey_at(size.0, size.1, shift, color);
    for plane in &mut frame.planes_mut()[1..] {
        plane.data.fill(S::nearest(color.neutral() + 40.0 * color.unit(), color.max()));
    }
    let stamp = Stamp::new(wording, &Canvas::plain(size));
    stamp.draw(&mut frame.view_mut(), None);
    (frame, stamp)
}

fn luma(frame: &impl Pixels, x: usize, y: usize) -> f32 {
    match frame.view().planes {
        Planes::U8([luma, ..]) => f32::from(luma.row(y)[x]),
        Planes::U16([luma, ..]) => f32::from(luma.row(y)[x]),
    }
}

/// Left, top, right and bottom of what is at least half white, as shown.
fn letters(stamp: &Stamp) -> [usize; 4] {
    let Area { left, top, width, .. } = stamp.area;
    let white = stamp.cover.iter().enumerate().filter(|(_, cover)| cover.white >= 128);
    white
        .map(|(place, _)| (left + place % width, top + place / width))
        .fold([usize::MAX, usize::MAX, 0, 0], |[left, top, right, bottom], (x, y)| {
            [left.min(x), top.min(y), right.max(x), bottom.max(y)]
        })
}

#[test]
fn letters_have_the_height_that_was_asked_for() {
    let check = |text: &str, size: (usize, usize), height: f64| {
        let stamp = Stamp::new(&Wording { text, place: Place::Bottom, height }, &Canvas::plain(size));
        let [_, top, _, bottom] = letters(&stamp);
        let (found, wanted) = ((bottom - top + 1) as f64, height * size.0.min(size.1) as f64);
        assert!((found - wanted).abs() <= 1.5, "{text} {size:?}: {found} rows, expected {wanted}");
    };
    for size in [(640, 360), (1920, 1080), (1080, 1920), (720, 720)] {
        for height in [0.05, 0.1] {
            check("AI", size, height); // capitals
            check("国", size, height); // an ideograph
        }
    }
    // Beside capitals ideographs are larger than they have to be.
    let of = |text: &str| letters(&Stamp::new(&wording(text, Place::Top), &Canvas::plain((1920, 1080))));
    let ([_, capital, ..], [_, ideograph, _, below]) = (of("AI"), of("AI生成"));
    assert!(below + 1 - ideograph > 60 && capital.abs_diff(ideograph) <= 1, "both begin at the margin");
}

#[test]
fn a_label_stands_where_it_is_wanted_and_inside_of_the_picture() {
    for size in [(640, 360), (360, 640), (1920, 1080)] {
        let margin = (0.04 * size.0.min(size.1) as f64).round() as usize;
        for (place, across, down) in [
            (Place::TopLeft, 0, 0),
            (Place::Top, 1, 0),
            (Place::TopRight, 2, 0),
            (Place::Centre, 1, 1),
            (Place::BottomLeft, 0, 2),
            (Place::Bottom, 1, 2),
            (Place::BottomRight, 2, 2),
        ] {
            let stamp = Stamp::new(&wording("AI-generated · AI生成", place), &Canvas::plain(size));
            let [left, top, right, bottom] = letters(&stamp);
            let side = |before: usize, behind: usize, which: i32| match which {
                0 => before.abs_diff(margin) <= 2,
                1 => before.abs_diff(behind) <= 3,
                _ => behind.abs_diff(margin) <= 2,
            };
            let is_there = side(left, size.0 - 1 - right, across) && side(top, size.1 - 1 - bottom, down);
            assert!(is_there, "{place:?} in {size:?}: {:?}", letters(&stamp));
            let Area { left, top, width, height } = stamp.area();
            assert!(left + width <= size.0 && top + height <= size.1, "{place:?} in {size:?}: {:?}", stamp.area());
        }
    }
}

#[test]
fn white_is_white_and_all_around_keeps_its_bits() {
    let check = |color: Color, white: f32, dark: f32| {
        for shift in [(1, 1), (1, 0), (0, 0), (2, 0), (0, 1), (2, 2)] {
            let (text, depth) = (wording("AI生成", Place::BottomRight), color.depth);
            match depth {
                8 => look::<u8>(&text, shift, color, (white, dark)),
                _ => look::<u16>(&text, shift, color, (white, dark)),
            }
        }
    };
    fn look<S: Sample>(text: &Wording<'_>, shift: (u8, u8), color: Color, (white, dark): (f32, f32)) {
        // Odd sides: the last chroma sample stands for less.
        let size = (641, 359);
        let (frame, stamp) = drawn::<S>(text, size, shift, color);
        let Area { left, top, width, height } = stamp.area();
        let (mut brightest, mut darkest) = (0.0f32, f32::INFINITY);
        let grey = f32::from(1u16 << (color.depth - 1));
        for (x, y) in (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y))) {
            let value = luma(&frame, x, y);
            let is_inside = x >= left && x < left + width && y >= top && y < top + height;
            assert!(is_inside || value == grey, "{shift:?} {color:?}: {value} at {x}, {y}");
            (brightest, darkest) = (brightest.max(value), darkest.min(value));
        }
        assert!((brightest - white).abs() <= 1.0, "{shift:?} {color:?}: {brightest}");
        // A dark rim: below what it lies on, and not below black.
        assert!(darkest >= dark && darkest < dark + 0.5 * (grey - dark), "{shift:?} {color:?}: {darkest}");
        let coloured = color.neutral() + (40.0 * color.unit()).round();
        for plane in &frame.planes()[1..] {
            let colours: Vec<f32> = plane.data.iter().map(|&sample| sample.into()).collect();
            let is_between =
                colours.iter().all(|&value| value >= color.neutral() && (value - coloured).abs() < 41.0 * color.unit());
            assert!(is_between, "{shift:?} {color:?}");
            let grey = colours.iter().filter(|&&value| (value - color.neutral()).abs() < 20.0 * color.unit()).count();
            let untouched = colours.iter().filter(|&&value| (value - coloured).abs() <= 1.0).count();
            assert!(
                grey > 20 && untouched > colours.len() / 2,
                "{shift:?} {color:?}: {grey} {untouched} of {}",
                colours.len()
            );
        }
    }
    check(LIMITED, 235.0, 16.0);
    check(Color::sdr(Matrix::Bt601, true), 255.0, 0.0);
    check(LIMITED.at_depth(10), 940.0, 64.0);
    check(Color::sdr(Matrix::Bt2020, true).at_depth(12), 4095.0, 0.0);
    check(LIMITED.at_depth(16), 60_160.0, 4096.0);
    // Reference white of HDR: ITU-R BT.2408, table 1: 58 % and 75 %.
    let hdr = Color { matrix: Matrix::Bt2020, transfer: Transfer::Pq, full_range: false, depth: 10 };
    check(hdr, 64.0 + 876.0 * 0.5807, 64.0);
    check(Color { transfer: Transfer::Hlg, ..hdr }, 64.0 + 876.0 * 0.75, 64.0);
}

/// What is shown of a label in a turned or mirrored picture.
fn shown(canvas: &Canvas) -> Vec<Cover> {
    let stamp = Stamp::new(&wording("AI, 生成", Place::TopLeft), canvas);
    let Area { left, top, width, height } = stamp.area();
    let (columns, rows) = canvas.turn.shown(canvas.size);
    let all = (0..rows).flat_map(|y| (0..columns).map(move |x| (x, y)));
    all.map(|point| {
        let (x, y) = canvas.stored(point);
        let is_inside = x >= left && x < left + width && y >= top && y < top + height;
        if is_inside { stamp.cover[(y - top) * width + x - left] } else { Cover::NONE }
    })
    .collect()
}

#[test]
fn a_label_is_upright_as_the_picture_is_shown() {
    let upright = shown(&Canvas::plain(HD));
    assert!(upright.iter().filter(|cover| cover.white == 255).count() > 200);
    for turn in Turn::ALL {
        for mirrored in [false, true] {
            let size = turn.shown(HD);
            let canvas = Canvas { size, turn, mirrored, aspect: 1.0 };
            assert!(shown(&canvas) == upright, "{turn:?}, mirrored: {mirrored}");
        }
    }
    // Where it is stored: of a picture that is turned by a quarter, the upper left corner is the lower left one.
    let turned =
        Stamp::new(&wording("AI", Place::TopLeft), &Canvas { turn: Turn::Quarter, ..Canvas::plain((360, 640)) });
    let Area { left, top, width, height } = turned.area();
    assert!(left < 20 && top + height > 610 && height > width / 2, "{:?}", turned.area());
}

#[test]
fn a_label_keeps_its_shape_where_samples_are_not_square() {
    let size_of = |canvas: Canvas| {
        let [left, top, right, bottom] = letters(&Stamp::new(&wording("人工智能", Place::Centre), &canvas));
        ((right - left) as f64, (bottom - top) as f64)
    };
    let (width, height) = size_of(Canvas::plain((1024, 576)));
    // PAL, 16:9.
    let wide = size_of(Canvas { aspect: 64.0 / 45.0, ..Canvas::plain((720, 576)) });
    assert!(
        (wide.0 * 64.0 / 45.0 - width).abs() < 3.0 && (wide.1 - height).abs() < 1.5,
        "{wide:?}, square {width} {height}"
    );
    // The same turned: its samples are higher than wide as shown.
    let turned = size_of(Canvas { aspect: 64.0 / 45.0, turn: Turn::Quarter, ..Canvas::plain((720, 576)) });
    let (along, across) = (turned.1, turned.0 * 64.0 / 45.0);
    assert!((along - width).abs() < 3.0 && (across - height).abs() < 3.0, "{turned:?}, square {width} {height}");
    // What a damaged file says is not believed.
    assert_eq!(size_of(Canvas { aspect: 1e9, ..Canvas::plain((1024, 576)) }), (width, height));
    assert_eq!(size_of(Canvas { aspect: f64::NAN, ..Canvas::plain((1024, 576)) }), (width, height));
}

#[test]
fn what_is_transparent_becomes_opaque_under_a_label() {
    let size = (320, 180);
    let color = Color::sdr(Matrix::Bt709, true).at_depth(16);
    let stamp = Stamp::new(&Wording { height: 0.2, ..wording("AI", Place::Centre) }, &Canvas::plain(size));
    let count = stamp.area().width * stamp.area().height;
    let render = |opacity: f32| {
        let mut frame = Frame::<u16>::grey_at(size.0, size.1, (0, 0), color);
        let mut under = vec![opacity; count];
        stamp.draw(&mut frame.view_mut(), Some(&under));
        stamp.make_opaque(&mut under);
        (frame, under)
    };
    let (clear, over_clear) = render(0.0);
    let (solid, over_solid) = render(1.0);
    assert!(over_solid.iter().all(|&opacity| opacity == 1.0));
    let Area { left, top, width, .. } = stamp.area();
    let (mut rims, mut insides) = (0, 0);
    for (place, cover) in stamp.cover.iter().enumerate() {
        let (x, y) = (left + place % width, top + place / width);
        assert!((over_clear[place] - (1.0 - f32::from(cover.kept) / 255.0)).abs() < 1e-6);
        if cover.white == 255 {
            assert_eq!((luma(&clear, x, y), luma(&solid, x, y), over_clear[place]), (65_535.0, 65_535.0, 1.0));
            insides += 1;
        }
        if cover.white == 0 && cover.kept < 255 {
            // Nothing of what was not to be seen shines through: it is black, and as opaque as the rim is dark.
            assert_eq!(luma(&clear, x, y), 0.0);
            rims += 1;
        }
    }
    assert!(rims > 50 && insides > 20, "{rims} {insides}");
}

#[test]
fn what_the_font_cannot_draw_is_named() {
    for text in [
        "AI-generated",
        "人工智能合成",
        "人工智慧生成",
        "これはAI生成です",
        "인공지능 생성",
        "Żółć, Ελληνικά, Русский «№ 5» €",
        "",
    ] {
        assert_eq!(without_glyph(text), None, "{text}");
    }
    for (text, missing) in
        [("AI 🤖", '🤖'), ("a\u{301}", '\u{301}'), ("אב", 'א'), ("a\u{200d}b", '\u{200d}'), ("x\u{202e}", '\u{202e}')]
    {
        assert_eq!(without_glyph(text), Some(missing), "{text:?}");
    }
}

#[test]
fn pictures_of_any_size_can_be_labelled() {
    for size in [(1, 1), (2, 2), (3, 200), (200, 3), (16, 16), (4096, 2)] {
        for place in [Place::TopLeft, Place::Centre, Place::BottomRight] {
            for height in [0.01, 0.5] {
                let (frame, _) = drawn::<u8>(&Wording { text: "AI生成 ok", place, height }, size, (1, 1), LIMITED);
                assert_eq!(frame.view().width(), size.0);
            }
        }
    }
    let nothing = Stamp::new(&wording("\u{3000}", Place::Top), &Canvas::plain(HD));
    assert_eq!(nothing.area(), Area::default());
}
