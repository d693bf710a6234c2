//! The swapper on pictures of more than eight bits, on HDR, and on RGB.

use crate::frame::{Color, Frame, Matrix, Pixels, RgbFrame, Transfer};
use crate::vision::geometry::Affine;
use crate::vision::{Face, crop, testing};

use super::super::features::OVAL;
use super::super::polygon::signed_distance;
use super::{detect_photo, face_of, other_portrait, swapped, swapper, target};

/// The same picture with more bits, which say nothing yet.
fn deepened(frame: &Frame, depth: u8) -> Frame<u16> {
    let view = frame.view();
    let mut deep = Frame::grey_at(view.width(), view.height(), view.shift, view.color.at_depth(depth));
    for (from, to) in frame.planes().into_iter().zip(deep.planes_mut()) {
        from.data.iter().zip(to.data).for_each(|(from, to)| *to = u16::from(*from) << (depth - 8));
    }
    deep
}

/// A face in an HDR picture (or another) of ten bits.
fn graded(color: Color) -> Frame<u16> {
    testing::portrait_in(color, &[testing::sway(0, 640, 360)], 640, 360)
}

fn swap<F: Pixels + Clone>(frame: &F, face: &Face) -> F {
    let mut after = frame.clone();
    swapper(&other_portrait()).swap(&mut after.view_mut(), face, 1.0, None).unwrap();
    after
}

#[test]
fn more_bits_give_the_same_face_with_finer_steps() {
    let (frame, face) = target(0);
    let after = swapped(&mut swapper(&other_portrait()), &(frame.clone(), face.clone()), 1.0);
    let oval: Vec<[f32; 2]> = OVAL.iter().map(|&i| [0, 1].map(|axis| face.mesh.0[i][axis])).collect();
    for depth in [9, 10, 12, 16] {
        let deep = deepened(&frame, depth);
        let deep_after = swap(&deep, &face);
        let unit = f32::from(1u16 << (depth - 8));
        for plane in 0..3 {
            let (before, swapped, bytes) = (deep.planes()[plane], deep_after.planes()[plane], after.planes()[plane]);
            let (mut changed, mut between) = (0, 0);
            for (index, (before, swapped)) in before.data.iter().zip(swapped.data).enumerate() {
                let apart = (f32::from(*swapped) / unit - f32::from(bytes.data[index])).abs();
                assert!(apart <= 1.0, "{depth} bits, plane {plane}: {apart} levels apart at {index}");
                if before == swapped {
                    continue;
                }
                changed += 1;
                between += u32::from(swapped % (1 << (depth - 8)) != 0);
                let scale = if plane == 0 { 1.0 } else { 2.0 };
                let place = [index % bytes.width, index / bytes.width].map(|axis| axis as f32 * scale);
                assert!(signed_distance(&oval, place) > -3.0, "{depth} bits, plane {plane}: {place:?} is outside");
            }
            // Steps between those of eight bits are used as often as chance has it: the face shows no bands.
            let expected = changed as f32 * (1.0 - 1.0 / unit);
            assert!(changed > 700 && between as f32 > 0.85 * expected, "{depth}, {plane}: {between} of {changed}");
        }
    }
}

#[test]
fn hdr_faces_are_found_and_swapped_as_ordinary_ones() {
    let rgb = |frame: &Frame<u16>| {
        let mut rgb = vec![0.0; 640 * 360 * 3];
        crop::sample(&frame.view(), &Affine([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (640, 360), 1.0, &mut rgb);
        rgb
    };
    let apart = |a: &[f32], b: &[f32], changed: &[bool]| {
        let differences =
            a.iter().zip(b).zip(changed).filter(|(_, changed)| **changed).map(|((a, b), _)| (a - b).abs());
        differences.sum::<f32>() / changed.iter().filter(|changed| **changed).count() as f32
    };
    let sdr = graded(Color::sdr(Matrix::Bt2020, false).at_depth(10));
    let face = face_of(&mut testing::nets(), &sdr);
    let (before, after) = (rgb(&sdr), rgb(&swap(&sdr, &face)));
    let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
    let moved = apart(&before, &after, &changed);
    for transfer in [Transfer::Pq, Transfer::Hlg] {
        let hdr = graded(Color { transfer, ..sdr.view().color });
        let hdr_face = face_of(&mut testing::nets(), &hdr);
        let shift = (0..468).map(|i| {
            let ([x, y, _], [u, v, _]) = (face.mesh.0[i], hdr_face.mesh.0[i]);
            (x - u).hypot(y - v)
        });
        let shift = shift.fold(0.0, f32::max);
        assert!(shift < 1.5, "{transfer:?}: the mesh lies {shift} pixels off");
        let swapped = rgb(&swap(&hdr, &face));
        // As an ordinary screen shows it. What the pictures differ by before is rounding, and clipped highlights.
        let (unlike_before, unlike_after) = (apart(&rgb(&hdr), &before, &changed), apart(&swapped, &after, &changed));
        assert!(unlike_after < unlike_before + 2.5, "{transfer:?}: {unlike_before} before, {unlike_after} after");
        assert!(moved > 4.0 * unlike_after, "{transfer:?}: {unlike_after} of {moved}");
    }
}

#[test]
fn hdr_samples_outside_the_face_stay() {
    for transfer in [Transfer::Pq, Transfer::Hlg] {
        let hdr = graded(Color { transfer, ..Color::sdr(Matrix::Bt2020, true).at_depth(10) });
        let face = face_of(&mut testing::nets(), &hdr);
        let oval: Vec<[f32; 2]> = OVAL.iter().map(|&i| [0, 1].map(|axis| face.mesh.0[i][axis])).collect();
        let after = swap(&hdr, &face);
        let (a, b) = (hdr.planes()[0], after.planes()[0]);
        let changed = (0..a.data.len()).filter(|&i| a.data[i] != b.data[i]);
        let outside = changed.filter(|i| {
            let place = [i % a.width, i / a.width].map(|axis| axis as f32);
            signed_distance(&oval, place) < -3.0
        });
        assert_eq!(outside.count(), 0, "{transfer:?}");
    }
}

#[test]
fn pixels_of_a_still_that_are_not_the_faces_keep_their_bits() {
    let photo = testing::portrait();
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    let points = detect_photo(&mut testing::nets(), photo);
    let face = Face { mesh: crate::vision::Mesh(points), presence: 1.0, turn: 0.0 };
    let oval: Vec<[f32; 2]> = OVAL.iter().map(|&i| [0, 1].map(|axis| points[i][axis])).collect();
    let words: Vec<u16> = photo.iter().map(|&byte| u16::from(byte) * 257).collect();

    let mut bytes = RgbFrame::new(width, height, photo.to_vec(), Matrix::Bt709);
    let mut deep = RgbFrame::new(width, height, words.clone(), Matrix::Bt709);
    let mut swapper = swapper(&other_portrait());
    swapper.swap(&mut bytes.view_mut(), &face, 1.0, None).unwrap();
    swapper.swap(&mut deep.view_mut(), &face, 1.0, None).unwrap();
    let (bytes, deep) = (bytes.into_rgb(), deep.into_rgb());

    let mut changed = 0;
    for (index, before) in photo.pixels().enumerate() {
        let (byte, word) = (&bytes[3 * index..][..3], &deep[3 * index..][..3]);
        let place = [index % width, index / width].map(|axis| axis as f32);
        if signed_distance(&oval, place) < -3.0 {
            assert_eq!((byte, word), (&before.0[..], &words[3 * index..][..3]), "{place:?} is outside");
        }
        changed += u32::from(byte != before.0);
        for (byte, word) in byte.iter().zip(word) {
            assert!((f32::from(*word) / 257.0 - f32::from(*byte)).abs() < 0.51, "{place:?}: {byte} {word}");
        }
    }
    assert!(changed > 2_000, "{changed}");
}
