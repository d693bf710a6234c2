//! Tracking does not depend on where a chunk starts, and finds what is there.

use super::*;
use crate::frame::{Frame, Turn};
use crate::vision::testing::{self, Place, portrait_at, sway};
use crate::vision::turn::TurnNet;
use crate::vision::{Catalog, Execution};

const WIDTH: usize = 320;
const HEIGHT: usize = 180;

/// Runs a tracker over `span` of a clip.
fn track(nets: &mut TrackNets, clip: &[Frame], span: Range<FrameIndex>) -> Vec<(FrameIndex, Vec<Face>)> {
    let frames = clip.len() as FrameIndex;
    let mut tracker = Tracker::new(span.clone(), frames);
    let mut out = Vec::new();
    for index in window(span, frames) {
        out.extend(tracker.push(nets, clip[index as usize].clone()).unwrap());
    }
    out.extend(tracker.finish().unwrap());
    out.into_iter()
        .map(|(index, frame, faces)| {
            assert!(frame == clip[index as usize], "frame {index} comes back as it went in");
            (index, faces)
        })
        .collect()
}

/// One face; from frame 11 to 50 a second one; a cut at 29, after which the first is elsewhere.
fn eventful_clip() -> Vec<Frame> {
    let frame = |index: u64| {
        let first = sway(index, WIDTH, HEIGHT);
        let is_second_shot = index >= 29;
        let beside = Place { centre: [60.0 + index as f32, 90.0], scale: 0.42, angle: -0.1 };
        let mut places = vec![if is_second_shot { Place { centre: [250.0, 70.0], ..first } } else { first }];
        if (11..50).contains(&index) {
            places.push(if is_second_shot { Place { centre: [80.0, 110.0], ..beside } } else { beside });
        }
        let mut frame = portrait_at(&places, WIDTH, HEIGHT);
        if is_second_shot {
            let [mut luma, ..] = frame.planes_mut();
            let brighter = |sample: &mut u8| *sample = sample.saturating_add(45);
            (0..HEIGHT).for_each(|y| luma.row_mut(y).iter_mut().for_each(brighter));
        }
        frame
    };
    (0..75).map(frame).collect()
}

#[test]
fn windows_reach_to_anchors() {
    let check = |span: Range<u64>, clip: u64, expected: Range<u64>| assert_eq!(window(span, clip), expected);
    check(0..64, 1000, 0..73);
    check(64..128, 1000, 56..137);
    check(67..68, 1000, 64..73);
    check(66..69, 1000, 56..73);
    check(66..70, 1000, 56..81);
    check(64..128, 128, 56..128);
    check(64..128, 130, 56..130);
    check(5..5, 100, 5..5);
    check(0..1, 1, 0..1);
    for start in 0..40 {
        for end in start + 1..60 {
            let window = window(start..end, 10_000);
            assert!(start - window.start <= 10 && window.end - end <= 12, "{start}..{end} {window:?}");
        }
    }
}

#[test]
fn faces_do_not_depend_on_the_span() {
    let (clip, mut nets) = (eventful_clip(), testing::nets());
    nets.turn = Some(TurnNet::load(&Catalog::builtin().unwrap(), &Execution::default()).unwrap());
    let frames = clip.len() as u64;
    let whole = track(&mut nets, &clip, 0..frames);
    assert!(whole.iter().flat_map(|(_, faces)| faces).any(|face| face.turn != 0.0), "turns are measured");
    assert_eq!(whole.len(), clip.len());
    let chunked = |length: usize, offset: u64| {
        let inner = (offset..frames).step_by(length).filter(|&start| start > 0);
        let bounds: Vec<u64> = std::iter::once(0).chain(inner).chain([frames]).collect();
        bounds.windows(2).map(|pair| pair[0]..pair[1]).collect::<Vec<_>>()
    };
    for (length, offset) in [(16, 0), (64, 0), (50, 13)] {
        let joined: Vec<_> =
            chunked(length, offset).into_iter().flat_map(|span| track(&mut nets, &clip, span)).collect();
        assert!(joined == whole, "chunks of {length} offset by {offset} give the same bits");
    }
    for span in [0..1, 10..12, 15..17, 27..31, 29..30, 47..52, 74..75] {
        let part = &whole[span.start as usize..span.end as usize];
        assert!(track(&mut nets, &clip, span.clone()) == part, "{span:?} gives the same bits");
    }
}

#[test]
fn a_clip_that_is_stored_turned_is_tracked_as_it_is_shown() {
    let mut nets = testing::nets();
    for turn in Turn::ALL {
        let frame = |index: u64| testing::portrait_stored(turn, &[sway(index, WIDTH, HEIGHT)], WIDTH, HEIGHT);
        let clip: Vec<Frame> = (0..20).map(frame).collect();
        let whole = track(&mut nets, &clip, 0..20);
        assert!(whole.iter().all(|(_, faces)| faces.len() == 1), "{turn:?}");
        for span in [0..7, 7..20] {
            let part = &whole[span.start as usize..span.end as usize];
            assert!(track(&mut nets, &clip, span.clone()) == part, "{turn:?}, {span:?} gives the same bits");
        }
    }
}

#[test]
fn faces_come_and_go_with_the_picture() {
    let (clip, mut nets) = (eventful_clip(), testing::nets());
    let faces = track(&mut nets, &clip, 0..clip.len() as u64);
    for (index, faces) in &faces {
        let expected = if (11..50).contains(index) { 2 } else { 1 };
        // Back-fill finds the second face from its first frame on; when it leaves, presence may lag a frame.
        assert!(faces.len() == expected || *index == 50, "frame {index} has {} faces", faces.len());
        let centres: Vec<f64> = faces.iter().map(|face| face.mesh.centre()[0]).collect();
        assert!(centres.is_sorted(), "{centres:?}");
    }
    let centre = |index: usize| faces[index].1.last().unwrap().mesh.centre();
    assert!((centre(29)[0] - centre(30)[0]).abs() < 4.0, "nothing is smoothed across the cut");
}

#[test]
fn a_known_motion_is_followed_without_lag() {
    let mut nets = testing::nets();
    let clip: Vec<Frame> = (0..40).map(|index| testing::moving_portrait(index, WIDTH, HEIGHT)).collect();
    let faces = track(&mut nets, &clip, 0..40);
    // Where the mesh's centre lies in the portrait is learned from the frames; that it is the same in all of them is
    // the test.
    let in_portrait: Vec<[f64; 2]> = faces
        .iter()
        .map(|(index, faces)| {
            let Place { centre, scale, angle } = sway(*index, WIDTH, HEIGHT);
            let [x, y] = faces[0].mesh.centre();
            let (dx, dy) =
                ((x - f64::from(centre[0])) / f64::from(scale), (y - f64::from(centre[1])) / f64::from(scale));
            let (sin, cos) = f64::from(angle).sin_cos();
            [cos * dx + sin * dy, cos * dy - sin * dx]
        })
        .collect();
    let mean = crate::vision::geometry::mean(&in_portrait);
    for (index, [x, y]) in in_portrait.iter().enumerate() {
        let away = (x - mean[0]).hypot(y - mean[1]);
        assert!(away < 0.02 * 46.0, "frame {index} is {away} portrait pixels off");
    }
}

#[test]
fn frames_of_no_size_and_without_faces_pass() {
    let mut nets = testing::nets();
    for (width, height) in [(1, 1), (17, 3), (320, 180)] {
        let clip = vec![Frame::grey(width, height, testing::CLIP_COLOR); 12];
        let faces = track(&mut nets, &clip, 0..12);
        assert!(faces.len() == 12 && faces.iter().all(|(_, faces)| faces.is_empty()));
    }
}

#[test]
fn the_window_is_what_must_come() {
    let mut nets = testing::nets();
    let grey = Frame::grey(64, 64, testing::CLIP_COLOR);
    let mut tracker = Tracker::new(8..10, 12);
    for _ in window(8..10, 12) {
        tracker.push(&mut nets, grey.clone()).unwrap();
    }
    let error = tracker.push(&mut nets, grey.clone()).unwrap_err().to_string();
    assert_eq!(error, "frame 12 cannot be tracked (expected every frame of 0..12, in order)");
    let mut early = Tracker::new(8..10, 12);
    early.push(&mut nets, grey).unwrap();
    assert!(matches!(early.finish(), Err(VisionError::FrameOutsideWindow { found: 1, .. })));
}
