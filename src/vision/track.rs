//! Faces followed through a clip such that the result does not depend on where a chunk starts.
//!
//! The clip is divided at absolute frames into segments of [`SEGMENT`]. A segment begins with an anchor, where faces
//! are found afresh; they are followed forward from there, and those that only the next anchor finds are followed
//! backward. So a frame's raw faces depend on its segment and the next anchor; its final ones on the raw faces up to
//! three frames before and after, of the same shot. No other state crosses a frame.

use std::collections::VecDeque;
use std::ops::Range;

use crate::frame::{FrameIndex, Pixels};

use super::error::VisionError;
use super::find::{TrackNets, is_among};
use super::scene::Thumbnail;
use super::smooth::{Posed, RADIUS, smooth, smooth_value};
use super::{Face, MESH_POINTS, Mesh};

/// Frames from one anchor to the next.
pub const SEGMENT: FrameIndex = 8;

/// Meshes of neighbouring frames are one face if they are nearest to each other and, on average, nearer than this, in
/// IOD.
const SAME_FACE_DISTANCE: f64 = 0.35;

/// The frames that must be seen for the faces of `span`, in a clip of `clip_frames` frames.
pub fn window(span: Range<FrameIndex>, clip_frames: FrameIndex) -> Range<FrameIndex> {
    if span.is_empty() {
        return span;
    }
    let start = span.start.saturating_sub(RADIUS) / SEGMENT * SEGMENT;
    let next_anchor = (span.end - 1 + RADIUS) / SEGMENT * SEGMENT + SEGMENT;
    start..(next_anchor + 1).min(clip_frames)
}

/// A frame with its faces, in order of their mean x, then y.
pub type Final<F> = (FrameIndex, F, Vec<Face>);

/// Takes the frames of a window one after the other and gives back those of its span with their faces.
pub struct Tracker<F> {
    span: Range<FrameIndex>,
    window: Range<FrameIndex>,
    /// The next frame to come.
    next: FrameIndex,
    /// Frames whose raw faces cannot change any more: all before this one.
    settled: FrameIndex,
    /// Of the frame before `next`: the faces to follow, and what it looked like.
    followed: Vec<Face>,
    before: Option<Thumbnail>,
    /// Frames that are not given back yet, or whose neighbours are not; the first is `first`.
    seen: VecDeque<Seen<F>>,
    first: FrameIndex,
}

struct Seen<F> {
    /// Gone when given back, or when no longer needed.
    frame: Option<F>,
    is_cut: bool,
    faces: Vec<Tracked>,
    /// For each face the same one in the next frame. Filled when both frames are settled.
    onward: Vec<Option<usize>>,
}

struct Tracked {
    face: Face,
    posed: Posed,
}

impl Tracked {
    fn new(face: Face) -> Self {
        Self { posed: Posed::of(&face.mesh), face }
    }
}

impl<F: Pixels> Tracker<F> {
    /// A tracker for the faces of `span`. It expects the frames of [`window`].
    pub fn new(span: Range<FrameIndex>, clip_frames: FrameIndex) -> Self {
        let window = window(span.clone(), clip_frames);
        let start = window.start;
        Self {
            span,
            window,
            next: start,
            settled: start,
            followed: Vec::new(),
            before: None,
            seen: VecDeque::new(),
            first: start,
        }
    }

    /// Takes the next frame of the window; gives the frames of the span that are now final, in order.
    ///
    /// # Errors
    /// [`VisionError::FrameOutsideWindow`] after the window's last frame; [`VisionError::Network`].
    pub fn push(&mut self, nets: &mut TrackNets, frame: F) -> Result<Vec<Final<F>>, VisionError> {
        let index = self.next;
        if index >= self.window.end {
            return Err(self.outside(index));
        }
        let picture = frame.view();
        let thumbnail = Thumbnail::of(&picture);
        let is_cut = self.before.as_ref().is_some_and(|before| thumbnail.is_cut_from(before));
        let is_anchor = index.is_multiple_of(SEGMENT);
        let faces =
            if is_anchor || is_cut { nets.anchor(&picture)? } else { follow_all(nets, &frame, &self.followed)? };
        let faces = faces.into_iter().map(|face| nets.turned(&picture, face)).collect::<Result<Vec<_>, _>>()?;
        if is_anchor {
            if !is_cut {
                self.follow_back(nets, &faces)?;
            }
            self.settle(index);
        }
        self.followed = faces.clone();
        self.before = Some(thumbnail);
        self.next += 1;
        let faces = faces.into_iter().map(Tracked::new).collect();
        self.seen.push_back(Seen { frame: Some(frame), is_cut, faces, onward: Vec::new() });
        Ok(self.take_final(self.settled.saturating_sub(RADIUS)))
    }

    /// Gives the rest, after the window's last frame.
    ///
    /// # Errors
    /// [`VisionError::FrameOutsideWindow`] if frames of the window are missing.
    pub fn finish(mut self) -> Result<Vec<Final<F>>, VisionError> {
        if self.next < self.window.end {
            return Err(self.outside(self.next));
        }
        self.settle(self.next);
        Ok(self.take_final(self.next))
    }

    fn outside(&self, found: FrameIndex) -> VisionError {
        VisionError::FrameOutsideWindow { found, start: self.window.start, end: self.window.end }
    }

    fn slot(&self, index: FrameIndex) -> usize {
        usize::try_from(index - self.first).expect("a window is small")
    }

    /// Follows the faces of the anchor `next` that no track reached backward, to the segment's start or the last cut.
    fn follow_back(&mut self, nets: &mut TrackNets, anchor: &[Face]) -> Result<(), VisionError> {
        for face in anchor {
            let mut current = face.clone();
            for index in (self.settled..self.next).rev() {
                let slot = self.slot(index);
                let seen = &mut self.seen[slot];
                let is_reached =
                    |face: &Face, seen: &Seen<F>| is_among(face, seen.faces.iter().map(|known| &known.face));
                if is_reached(&current, seen) {
                    break;
                }
                let picture = seen.frame.as_ref().expect("frames that are not settled are kept").view();
                let Some(found) = nets.mesh.follow(&picture, &current.mesh)? else { break };
                if is_reached(&found, seen) {
                    break;
                }
                let found = nets.turned(&picture, found)?;
                seen.faces.push(Tracked::new(found.clone()));
                current = found;
                if seen.is_cut {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The raw faces of all frames before `end` are as they will be: links them.
    fn settle(&mut self, end: FrameIndex) {
        let linked_from = self.settled.saturating_sub(1).max(self.first);
        for index in linked_from..end.saturating_sub(1) {
            let slot = self.slot(index);
            let (here, there) = (&self.seen[slot], &self.seen[slot + 1]);
            let onward = if there.is_cut { vec![None; here.faces.len()] } else { link(&here.faces, &there.faces) };
            self.seen[slot].onward = onward;
        }
        self.settled = end;
    }

    /// Gives the frames of the span before `end` that were not given yet, and lets go of what no later frame needs.
    fn take_final(&mut self, end: FrameIndex) -> Vec<Final<F>> {
        let mut given = Vec::new();
        for index in self.first.max(self.span.start)..end.min(self.span.end) {
            let slot = self.slot(index);
            if let Some(frame) = self.seen[slot].frame.take() {
                given.push((index, frame, self.final_faces(slot)));
            }
        }
        let needed = end.saturating_sub(RADIUS);
        while self.first < needed.min(self.settled) {
            self.seen.pop_front();
            self.first += 1;
        }
        let unneeded = self.settled.min(self.span.start).saturating_sub(self.first);
        self.seen.iter_mut().take(unneeded as usize).for_each(|seen| seen.frame = None);
        given
    }

    fn final_faces(&self, slot: usize) -> Vec<Face> {
        let smoothed = |face: usize| {
            let Tracked { face: raw, .. } = &self.seen[slot].faces[face];
            let around = self.around(slot, face);
            let posed: Vec<(i64, &Posed)> = around.iter().map(|(time, tracked)| (*time, &tracked.posed)).collect();
            let turns = around.iter().map(|(time, tracked)| (*time, tracked.face.turn));
            Face { mesh: smooth(&posed), presence: raw.presence, turn: smooth_value(turns) }
        };
        let mut faces: Vec<Face> = (0..self.seen[slot].faces.len()).map(smoothed).collect();
        faces.sort_by(|a, b| {
            let ([ax, ay], [bx, by]) = (a.mesh.centre(), b.mesh.centre());
            ax.total_cmp(&bx).then(ay.total_cmp(&by))
        });
        faces
    }

    /// The face in the frames around, by time: up to [`RADIUS`] before and after, as far as it can be followed.
    fn around(&self, slot: usize, face: usize) -> Vec<(i64, &Tracked)> {
        let mut around = vec![(0, &self.seen[slot].faces[face])];
        let mut current = face;
        for back in 1..=(RADIUS as usize).min(slot) {
            let seen = &self.seen[slot - back];
            let Some(before) = seen.onward.iter().position(|onward| *onward == Some(current)) else { break };
            around.push((-(back as i64), &seen.faces[before]));
            current = before;
        }
        around.reverse();
        current = face;
        for ahead in 1..=RADIUS as usize {
            let Some(Some(after)) = self.seen[slot + ahead - 1].onward.get(current).copied() else { break };
            around.push((ahead as i64, &self.seen[slot + ahead].faces[after]));
            current = after;
        }
        around
    }
}

/// The faces of the neighbouring frame that are still there; of two that run into each other the first.
fn follow_all(nets: &mut TrackNets, frame: &impl Pixels, faces: &[Face]) -> Result<Vec<Face>, VisionError> {
    let mut found: Vec<Face> = Vec::with_capacity(faces.len());
    for face in faces {
        let Some(face) = nets.mesh.follow(&frame.view(), &face.mesh)? else { continue };
        if !is_among(&face, found.iter()) {
            found.push(face);
        }
    }
    Ok(found)
}

/// For each face of a frame the one of the next frame that is nearest to it and to which it is nearest.
fn link(here: &[Tracked], there: &[Tracked]) -> Vec<Option<usize>> {
    let nearest = |face: &Tracked, others: &[Tracked]| {
        let iod = face.face.mesh.iod();
        let distances = others.iter().map(|other| mean_distance(&face.face.mesh, &other.face.mesh) / iod);
        let (index, distance) = distances.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (distance < SAME_FACE_DISTANCE).then_some(index)
    };
    let onward = |(index, face): (usize, &Tracked)| {
        let next = nearest(face, there)?;
        (nearest(&there[next], here) == Some(index)).then_some(next)
    };
    here.iter().enumerate().map(onward).collect()
}

fn mean_distance(a: &Mesh, b: &Mesh) -> f64 {
    let apart = |(p, q): (&[f32; 3], &[f32; 3])| {
        let (dx, dy) = (f64::from(p[0]) - f64::from(q[0]), f64::from(p[1]) - f64::from(q[1]));
        (dx * dx + dy * dy).sqrt()
    };
    a.0.iter().zip(&b.0).map(apart).sum::<f64>() / MESH_POINTS as f64
}

#[cfg(test)]
mod tests;
