//! Which face of a frame gets whose: decided by likeness to a photo or by its place in the frame, from that frame alone, so that where a
//! chunk begins changes nothing.

use crate::contract::Faces;
use crate::frame::{Turn, YuvRef};
use crate::vision::recogniser::{Recogniser, cosine};
use crate::vision::{Face, VisionError};

/// Who is looked for in a frame.
pub enum Part {
    /// Those that the job's `faces` names.
    Anyone(Faces),
    /// The one at this place, from the left, from 0.
    Position(usize),
    /// The one whose embedding has at least this cosine with that of a photo.
    Like {
        /// The photo's.
        embedding: Vec<f32>,
        /// 1 less the distance.
        least: f64,
    },
}

/// All who are looked for, by the numbers of the people whose faces they get.
pub struct Cast {
    parts: Vec<Part>,
    /// There where somebody is to be like a photo.
    recogniser: Option<Recogniser>,
}

impl Cast {
    /// `recogniser` made the embeddings of the parts.
    pub fn new(parts: Vec<Part>, recogniser: Option<Recogniser>) -> Self {
        Self { parts, recogniser }
    }

    /// The faces that are changed: number of the face, number of the person, in the order of the faces. `faces` are ordered from the left of
    /// the picture as it is stored.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn assign(&mut self, picture: &YuvRef<'_>, faces: &[Face]) -> Result<Vec<(usize, usize)>, VisionError> {
        let from_left = from_left(faces, picture.turn, (picture.width(), picture.height()));
        let mut taken = Vec::new();
        let mut likenesses = Vec::new();
        let embeddings = match &mut self.recogniser {
            Some(recogniser) => {
                let embed = |face: &Face| recogniser.embedding(picture, &face.mesh.five_points());
                faces.iter().map(embed).collect::<Result<Vec<_>, _>>()?
            }
            None => Vec::new(),
        };
        for (person, part) in self.parts.iter().enumerate() {
            match part {
                Part::Anyone(Faces::All) => taken.extend((0..faces.len()).map(|face| (face, person))),
                Part::Anyone(Faces::Largest) => taken.extend(largest(faces).map(|face| (face, person))),
                Part::Position(place) => taken.extend(from_left.get(*place).map(|&face| (face, person))),
                Part::Like { embedding, least } => {
                    let alike = embeddings.iter().map(|other| cosine(embedding, other)).enumerate();
                    likenesses.extend(alike.filter(|(_, cosine)| cosine >= least).map(|(face, c)| (c, face, person)));
                }
            }
        }
        // The most alike first; no face is two people's, and nobody is there twice.
        likenesses.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        for (_, face, person) in likenesses {
            if taken.iter().all(|&(other_face, other)| other_face != face && other != person) {
                taken.push((face, person));
            }
        }
        taken.sort_unstable();
        taken.dedup_by_key(|(face, _)| *face);
        Ok(taken)
    }
}

/// The face with the largest box; of equals the first.
fn largest(faces: &[Face]) -> Option<usize> {
    let area = |face: &usize| faces[*face].mesh.bounds().area();
    (0..faces.len()).rev().max_by(|a, b| area(a).total_cmp(&area(b)))
}

/// The faces by their places in the picture as it is shown; `size` is the stored one's.
fn from_left(faces: &[Face], turn: Turn, size: (usize, usize)) -> Vec<usize> {
    // Where one pixel to the right of the shown picture leads in the stored one.
    let (origin, right) = (turn.to_stored([0.0, 0.0], size), turn.to_stored([1.0, 0.0], size));
    let across = |face: &usize| {
        let [x, y] = faces[*face].mesh.centre();
        (x - origin[0]) * (right[0] - origin[0]) + (y - origin[1]) * (right[1] - origin[1])
    };
    let mut order: Vec<usize> = (0..faces.len()).collect();
    order.sort_by(|a, b| across(a).total_cmp(&across(b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Color, Frame, Matrix, Pixels};
    use crate::vision::{MESH_POINTS, Mesh};

    /// A face of this width with its middle at (x, y).
    fn face(x: f32, y: f32, width: f32) -> Face {
        let points = std::array::from_fn(|point: usize| {
            let t = point as f32 / (MESH_POINTS - 1) as f32 - 0.5;
            [x + t * width, y + t * width, 0.0]
        });
        Face { mesh: Mesh(points), presence: 1.0 }
    }

    fn assign(parts: Vec<Part>, faces: &[Face], turn: Turn) -> Vec<(usize, usize)> {
        let frame = Frame::<u8>::grey(400, 200, Color::sdr(Matrix::Bt709, false)).shown_turned(turn);
        Cast::new(parts, None).assign(&frame.view(), faces).unwrap()
    }

    #[test]
    fn faces_are_chosen_by_size_and_place() {
        let faces = [face(50.0, 60.0, 20.0), face(200.0, 20.0, 40.0), face(300.0, 150.0, 30.0)];
        let check = |part: Part, turn: Turn, expected: &[(usize, usize)]| {
            assert_eq!(assign(vec![part], &faces, turn), expected);
        };
        check(Part::Anyone(Faces::All), Turn::None, &[(0, 0), (1, 0), (2, 0)]);
        check(Part::Anyone(Faces::Largest), Turn::None, &[(1, 0)]);
        check(Part::Position(2), Turn::None, &[(2, 0)]);
        check(Part::Position(3), Turn::None, &[]);
        check(Part::Position(0), Turn::Half, &[(2, 0)]);
        assert_eq!(assign(vec![Part::Anyone(Faces::Largest)], &[], Turn::None), []);
        assert_eq!(assign(vec![Part::Position(1), Part::Position(0)], &faces, Turn::None), [(0, 1), (1, 0)]);
        // Of a picture that is shown turned by a quarter, what is stored above or below another is beside it.
        let quarter: Vec<_> =
            (0..3).map(|place| assign(vec![Part::Position(place)], &faces, Turn::Quarter)[0].0).collect();
        assert!(quarter == [1, 0, 2] || quarter == [2, 0, 1], "{quarter:?}");
    }
}
