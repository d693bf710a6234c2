//! Pictures that are stored turned and shown upright.

use crate::frame::{Frame, Pixels, Turn};
use crate::vision::find::TrackNets;
use crate::vision::testing;

use super::super::{MeshSwapper, Reference, ReferenceBuilder};
use super::{face_of, other_portrait, swapper};

const SHOWN: (usize, usize) = (640, 360);

/// Frame `index` of the made-up clip, with a fringe down to the middle of the forehead.
fn target(turn: Turn, index: u64) -> Frame {
    let place = testing::sway(index, SHOWN.0, SHOWN.1);
    let mut frame = testing::portrait_stored(turn, &[place], SHOWN.0, SHOWN.1);
    let back = Turn::nearest(-i32::from(turn.degrees()));
    let hairline = f64::from(place.centre[1] - 42.0 * place.scale);
    let [mut luma, ..] = frame.planes_mut();
    for y in 0..luma.height {
        for (x, sample) in luma.row_mut(y).iter_mut().enumerate() {
            let [_, shown_y] = back.to_stored([x as f64, y as f64], SHOWN);
            if shown_y < hairline {
                *sample = *sample / 5 + 13;
            }
        }
    }
    frame
}

/// Luma before and after, as shown.
fn swapped(
    (swapper, nets): &mut (MeshSwapper, TrackNets),
    frame: &Frame,
    reference: Option<&Reference>,
) -> [Vec<f32>; 2] {
    let face = face_of(nets, frame);
    let mut after = frame.clone();
    swapper.swap(&mut after.view_mut(), &face, 1.0, reference).unwrap();
    [frame, &after].map(|frame| {
        let [luma, ..] = frame.planes();
        let stored: Vec<f32> = luma.data.iter().copied().map(f32::from).collect();
        let mut shown = vec![0.0; stored.len()];
        frame.view().turn.apply(&stored, (luma.width, luma.height), &mut shown, SHOWN.0);
        shown
    })
}

fn usual_look(nets: &mut TrackNets, turn: Turn) -> Reference {
    let mut builder = ReferenceBuilder::default();
    for index in 0..5 {
        let frame = target(turn, 6 * index);
        builder.add(frame.view(), &face_of(nets, &frame).mesh);
    }
    builder.finish().unwrap()
}

#[test]
fn a_face_that_is_stored_turned_becomes_the_same_face() {
    let mut tools = (swapper(&other_portrait()), testing::nets());
    let look = usual_look(&mut tools.1, Turn::None);
    let [before, upright] = swapped(&mut tools, &target(Turn::None, 7), Some(&look));
    let changed: Vec<usize> = (0..before.len()).filter(|&i| before[i] != upright[i]).collect();
    assert!(changed.len() > 5_000, "{} samples of {SHOWN:?} change", changed.len());
    for turn in [Turn::Quarter, Turn::Half, Turn::ThreeQuarters] {
        let look = usual_look(&mut tools.1, turn);
        let [turned_before, turned] = swapped(&mut tools, &target(turn, 7), Some(&look));
        assert!(turned_before == before, "{turn:?} is the same picture, stored otherwise");
        let squares = |i: &usize| f64::from(turned[*i] - upright[*i]).powi(2);
        let error = (changed.iter().map(squares).sum::<f64>() / changed.len() as f64).sqrt();
        let also = changed.iter().filter(|&&i| turned[i] != before[i]).count();
        assert!(error < 1.0, "{turn:?}: {error} levels apart");
        assert!(also * 100 > changed.len() * 95, "{turn:?}: {also} of {} samples change", changed.len());
    }
}
