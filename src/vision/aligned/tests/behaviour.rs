//! What no reference says: nothing shimmers, nothing jumps, nothing is touched that need not be.

use crate::frame::{Color, Frame, Matrix, Pixels, Sample, Transfer};
use crate::vision::aligned::texture::match_texture;
use crate::vision::aligned::{Aligned, Template, boost, colour, mask, mix, paste};
use crate::vision::geometry::Affine;

const FULL: Color = Color::sdr(Matrix::Bt709, true);

/// A picture of `luma(x, y)`, 0..=1 of the range, and colours that vary slowly.
fn drawn<S: Sample>(
    size: (usize, usize),
    shift: (u8, u8),
    color: Color,
    luma: impl Fn(usize, usize) -> f64,
) -> Frame<S> {
    let mut frame = Frame::grey_at(size.0, size.1, shift, color);
    let (floor, range) =
        if color.full_range { (0.0, color.max()) } else { (16.0 * color.unit(), 219.0 * color.unit()) };
    for (index, mut plane) in frame.planes_mut().into_iter().enumerate() {
        for y in 0..plane.height {
            for (x, sample) in plane.row_mut(y).iter_mut().enumerate() {
                let value = match index {
                    0 => floor + range * luma(x, y) as f32,
                    _ => color.neutral() * (1.0 + 0.05 * ((x + index * y) as f32 * 0.1).sin()),
                };
                *sample = S::nearest(value, color.max());
            }
        }
    }
    frame
}

fn map(scale: f64, angle: f64, x: f64, y: f64) -> Affine {
    let (a, b) = (scale * angle.cos(), scale * angle.sin());
    Affine([[a, -b, x], [b, a, y]])
}

/// Even numbers −1..1 that look like chance.
fn chance(x: usize, y: usize) -> f64 {
    let bits = ((x * 7919 + y * 104_729 + 17) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (bits >> 40) as f64 / f64::from(1 << 23) - 1.0
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn flat(side: usize, to_picture: Affine, value: f32) -> Aligned {
    Aligned { side, to_picture, rgb: vec![value; 3 * side * side] }
}

#[test]
fn templates_are_known_by_name() {
    for template in Template::ALL {
        assert_eq!(Template::from_name(template.name()), Some(template));
        let points = template.points(512.0).map(|[x, y]| [x + 30.0, y - 4.0]);
        let found = template.to_picture(512.0, &points).apply([0.0, 0.0]);
        assert!((found[0] - 30.0).abs() < 1e-9 && (found[1] + 4.0).abs() < 1e-9, "{template:?} {found:?}");
    }
    assert_eq!(Template::from_name("arcface_112"), None);
}

/// The finest pattern there is, shrunk, is grey wherever it lies.
#[test]
fn what_is_shrunk_does_not_shimmer() {
    let board = |x: usize, y: usize| if (x + y).is_multiple_of(2) { 0.2 } else { 0.8 };
    let frame = drawn::<u8>((120, 120), (1, 1), FULL, board);
    for scale in [1.6, 2.0, 2.37, 5.1] {
        for shift in [0.0, 0.25, 0.6] {
            let crop = Aligned::sample(&frame.view(), map(scale, 0.2, 20.0 + shift, 5.0 + shift), 16);
            let luma = crop.luma();
            assert!(luma.iter().all(|value| (value - 127.5).abs() < 26.0), "{scale} {shift} {luma:?}");
        }
    }
    let fine = flat(48, map(0.4, 0.3, 20.0, 10.0), 0.0);
    let rgb = (0..3 * 48 * 48).map(|i| if (i % 48 + i / 48 % 48) % 2 == 0 { 50.0 } else { 200.0 }).collect();
    let mut frame = drawn::<u8>((60, 60), (1, 1), FULL, |_, _| 125.0 / 255.0);
    paste(&mut frame.view_mut(), &Aligned { rgb, ..fine }, &[1.0; 48 * 48], 1.0);
    let luma = frame.planes()[0].data;
    assert!(luma.iter().all(|value| value.abs_diff(125) < 20), "{:?}", luma.iter().max());
}

/// A face that comes nearer never jumps in sharpness.
#[test]
fn the_filter_changes_as_slowly_as_the_scale() {
    let frame = drawn::<u8>((160, 160), (1, 1), FULL, |x, y| 0.5 + 0.4 * chance(x, y));
    for scale in [1.0, 1.25, 1.5, 2.0, 3.0, 4.0] {
        let crop = |scale: f64| Aligned::sample(&frame.view(), map(scale, 0.1, 20.0, 20.0), 24);
        let change = worst(&crop(scale - 1e-4).rgb, &crop(scale + 1e-4).rgb);
        assert!(change < 8.0, "{scale}: {change}");
    }
    for scale in [1.0, 0.8, 0.66, 0.5, 0.33] {
        let pasted = |scale: f64| {
            let mut frame = drawn::<u8>((60, 60), (1, 1), FULL, |_, _| 0.5);
            let rgb = (0..3 * 48 * 48).map(|i| 128.0 + 100.0 * chance(i % 48, i / 48) as f32).collect();
            let new = Aligned { side: 48, to_picture: map(scale, 0.1, 8.0, 4.0), rgb };
            paste(&mut frame.view_mut(), &new, &mask::box_mask(48, 0.3, [0.0; 4]), 1.0);
            frame.planes()[0].data.iter().map(|&sample| f32::from(sample)).collect::<Vec<_>>()
        };
        let change = worst(&pasted(scale - 1e-4), &pasted(scale + 1e-4));
        assert!(change < 12.0, "{scale}: {change}");
    }
}

/// A crop brought back unchanged changes nothing that can be seen, whatever the colours, and nothing at all beside it.
#[test]
fn what_was_taken_out_fits_back_in() {
    fn check<S: Sample>(color: Color, shift: (u8, u8)) {
        let soft = |x: usize, y: usize| 0.4 + 0.15 * ((x as f64) * 0.11).sin() * ((y as f64) * 0.09).cos();
        let before = drawn::<S>((97, 71), shift, color, soft);
        let mut after = before.clone();
        let crop = Aligned::sample(&before.view(), map(0.5, 0.2, 22.0, 9.0), 80);
        let mut opacity = mask::box_mask(80, 0.3, [0.0; 4]);
        paste(&mut after.view_mut(), &crop, &opacity, 0.0);
        assert!(after == before);
        paste(&mut after.view_mut(), &crop, &opacity, 1.0);
        let unit = if color.transfer == Transfer::Sdr { color.unit() } else { 1.5 * color.unit() };
        for (plane, (before, after)) in before.planes().into_iter().zip(after.planes()).enumerate() {
            let off = |(a, b): (&S, &S)| (Into::<f32>::into(*a) - Into::<f32>::into(*b)).abs() / unit;
            let most = before.data.iter().zip(after.data).map(off).fold(0.0, f32::max);
            assert!(most <= 1.0, "{color:?} {shift:?} plane {plane}: {most}");
        }

        // Another face changes what lies under its mask, and that alone; samples beyond the depth stay as they are.
        let white = flat(80, crop.to_picture, 255.0);
        for (index, value) in opacity.iter_mut().enumerate() {
            *value = if index % 80 < 40 { *value } else { 0.0 };
        }
        let mut after = before.clone();
        paste(&mut after.view_mut(), &white, &opacity, 1.0);
        let to_crop = crop.to_picture.inverse().unwrap();
        let (mut changed, luma) = (0, (before.planes()[0], after.planes()[0]));
        for y in 0..71 {
            for x in 0..97 {
                let [u, v] = to_crop.apply([x as f64, y as f64]);
                // A sample's ground is two crop pixels wide, and they fade within one.
                let is_under = u > -2.0 && u < 42.0 && v > -2.0 && v < 81.0;
                let is_same = luma.0.row(y)[x] == luma.1.row(y)[x];
                changed += usize::from(!is_same);
                assert!(is_under || is_same, "{color:?} {x} {y}");
            }
        }
        assert!(changed > 300, "{changed}");
    }
    let sdr = |matrix, full_range| Color::sdr(matrix, full_range);
    for shift in [(1, 1), (1, 0), (0, 0), (0, 1), (2, 0)] {
        check::<u8>(sdr(Matrix::Bt709, false), shift);
        check::<u16>(sdr(Matrix::Bt2020, false).at_depth(10), shift);
    }
    check::<u8>(sdr(Matrix::Bt601, true), (1, 1));
    check::<u16>(sdr(Matrix::Bt709, true).at_depth(16), (0, 0));
    for transfer in [Transfer::Pq, Transfer::Hlg] {
        check::<u16>(Color { transfer, ..sdr(Matrix::Bt2020, false).at_depth(10) }, (1, 1));
    }
}

#[test]
fn impossible_places_do_nothing() {
    let before = drawn::<u8>((9, 7), (1, 1), FULL, |_, _| 0.3);
    let maps = [
        map(f64::NAN, 0.0, 0.0, 0.0),
        map(1.0, 0.0, f64::INFINITY, 0.0),
        map(1e300, 0.1, 0.0, 0.0),
        map(0.0, 0.0, 3.0, 3.0),
        map(1.0, 0.3, 1e9, 0.0),
        map(1.0, 0.3, -40.0, 2.0),
        Template::Ffhq512.to_picture(8.0, &[[3.0, 3.0]; 5]),
    ];
    for to_picture in maps {
        let crop = Aligned::sample(&before.view(), to_picture, 8);
        assert!(crop.rgb.len() == 192 && crop.rgb.iter().all(|value| value.is_finite()), "{to_picture:?}");
        let mut after = before.clone();
        paste(&mut after.view_mut(), &flat(8, to_picture, 255.0), &[1.0; 64], 1.0);
        assert!(after == before, "{to_picture:?}");
    }
    // Small pictures and large faces are possible.
    for (size, scale) in [((1, 1), 1.0), ((3, 1), 0.2), ((1, 5), 9.0), ((9, 7), 300.0)] {
        let mut frame = drawn::<u8>(size, (1, 1), FULL, |_, _| 0.3);
        let crop = Aligned::sample(&frame.view(), map(scale, 0.4, -scale, -scale), 8);
        assert!(crop.luma().iter().all(|value| (value - 76.0).abs() < 8.0), "{size:?} {:?}", crop.rgb);
        paste(&mut frame.view_mut(), &flat(8, crop.to_picture, 255.0), &[1.0; 64], 1.0);
        assert!(frame.planes()[0].data.iter().any(|sample| *sample > 76), "{size:?}");
    }
    // Crops of all sizes that come as near to the border as can be.
    let frame = drawn::<u8>((61, 61), (0, 0), FULL, |_, _| 0.3);
    for step in 0..400 {
        let scale = 0.5 + 0.01 * f64::from(step);
        for gap in 0..8 {
            let start = 0.1 + 0.15 * f64::from(gap) * scale;
            let crop = Aligned::sample(&frame.view(), map(scale, 0.0, start, start), (60.0 / scale) as usize);
            assert!(crop.luma().iter().all(|value| (value - 76.0).abs() < 8.0), "{scale} {gap}");
        }
    }
    let mut frame = before.clone();
    paste(&mut frame.view_mut(), &flat(0, map(1.0, 0.0, 0.0, 0.0), 0.0), &[], 1.0);
    paste(&mut frame.view_mut(), &flat(2, map(1.0, 0.0, 0.0, 0.0), 255.0), &[f32::NAN; 4], 1.0);
    assert!(frame == before);
}

#[test]
fn sub_images_come_together_again() {
    for (side, n) in [(1, 1), (5, 2), (4, 3), (16, 4)] {
        let rgb: Vec<f32> = (0..3 * (side * n) * (side * n)).map(|i| i as f32).collect();
        let images = boost::split(&rgb, side, n);
        assert_eq!((images.len(), images[0].len()), (n * n, 3 * side * side));
        assert_eq!(boost::join(&images, side, n), rgb);
        let last = &images[n * n - 1];
        assert_eq!(last[0], ((n - 1) * side * n + n - 1) as f32);
    }
}

#[test]
fn masks_combine_by_the_lesser() {
    let mut mask = vec![0.2, 0.9, 1.0];
    mask::combine(&mut mask, &[0.5, 0.1, 1.0]);
    assert_eq!(mask, [0.2, 0.1, 1.0]);
    // Nothing that could be a hull, nothing that could be a box.
    assert!(mask::hull_mask(4, &[[0.0, 0.0], [3.0, 3.0]], 1.0).iter().all(|value| *value == 0.0));
    assert!(mask::hull_mask(4, &[[f32::NAN, 0.0], [3.0, 3.0], [3.0, 0.0]], 1.0).iter().all(|value| *value == 0.0));
    assert!(mask::box_mask(8, 0.3, [300.0, 0.0, 0.0, 0.0]).iter().all(|value| *value == 0.0));
}

#[test]
fn restored_faces_are_mixed_in() {
    let mut base = flat(2, map(1.0, 0.0, 0.0, 0.0), 100.0);
    mix(&mut base, &[200.0; 12], 0.8);
    assert!(base.rgb.iter().all(|value| (value - 180.0).abs() < 1e-3));
}

#[test]
fn an_unseen_face_keeps_its_colours() {
    let place = map(1.0, 0.0, 0.0, 0.0);
    let (before, target) = (flat(90, place, 100.0), flat(90, place, 160.0));
    let mut new = before.clone();
    colour::match_lab(&mut new, &target, &[0.0; 8100], 1.0);
    colour::relight(&mut new, &target, &[0.0; 8100], 1.0);
    assert_eq!(new, before);
    // Larger than the grid of light: all of it comes to the target's.
    colour::relight(&mut new, &target, &mask::box_mask(90, 0.3, [0.0; 4]), 1.0);
    assert!(worst(&new.rgb, &target.rgb) < 0.1, "{}", worst(&new.rgb, &target.rgb));
}

/// Standard deviation of luma in the middle of the picture, less what is smooth.
fn grain(frame: &Frame) -> f64 {
    let luma = frame.planes()[0];
    let (mut squares, mut count) = (0.0f64, 0.0f64);
    for y in 50..110 {
        for x in 50..110 {
            // Two pixels apart: nearer ones share noise.
            let at = |dx: usize, dy: usize| f64::from(luma.row(y + 2 * dy - 2)[x + 2 * dx - 2]);
            let bend = |dy: usize| at(0, dy) - 2.0 * at(1, dy) + at(2, dy);
            squares += (bend(0) - 2.0 * bend(1) + bend(2)).powi(2);
            count += 36.0;
        }
    }
    (squares / count).sqrt()
}

/// The target's noise comes back, wherever the crop's pixels lie.
#[test]
fn a_smooth_face_gets_the_targets_grain() {
    let noisy = drawn::<u8>((160, 160), (1, 1), FULL, |x, y| {
        0.5 + 0.02 * (chance(x, y) + chance(x + 999, y) + chance(x, y + 999)) + 0.001 * x as f64
    });
    for scale in [0.25, 0.4, 0.5, 0.77, 1.0] {
        let side = (110.0 / scale) as usize;
        let target = Aligned::sample(&noisy.view(), map(scale, 0.13, 30.3, 21.6), side);
        let shown = vec![1.0; side * side];
        let made = |frame: u64, strength: f32| {
            let mut new = flat(side, target.to_picture, 120.0);
            let texture = match_texture(&mut new, &target, &shown, strength, frame);
            (new, texture)
        };
        let (new, texture) = made(7, 1.0);
        let mut pasted = noisy.clone();
        paste(&mut pasted.view_mut(), &new, &shown, 1.0);
        let (found, wanted) = (grain(&pasted), grain(&noisy));
        assert!((0.75..1.25).contains(&(found / wanted)), "{scale}: {found} of {wanted}, {texture:?}");
        assert_eq!(new, made(7, 1.0).0);
        assert!(worst(&new.rgb, &made(8, 1.0).0.rgb) > 1.0);
        assert!(made(7, 0.0).0.rgb.iter().all(|value| *value == 120.0));
    }
}

/// A sharp new face becomes as soft as its target, a soft one hardly sharper.
#[test]
fn sharpness_is_the_targets() {
    let place = map(1.0, 0.0, 0.0, 0.0);
    let striped = |period: f32, height: f32| {
        let row = |i: usize| 120.0 + height * ((i % 64) as f32 * std::f32::consts::TAU / period).sin();
        Aligned { side: 64, to_picture: place, rgb: (0..3 * 4096).map(row).collect() }
    };
    let shown = vec![1.0; 4096];
    let check = |height: f32, expected: f32| {
        let mut new = striped(6.0, 20.0);
        let texture = match_texture(&mut new, &striped(6.0, height), &shown, 1.0, 0);
        assert!((texture.detail - expected).abs() < 0.05, "{height}: {texture:?}");
        assert!(new.rgb.iter().all(|value| value.is_finite()));
    };
    check(20.0, 1.0);
    check(10.0, 0.5);
    check(1.0, 0.25);
    check(60.0, 1.25);
}
