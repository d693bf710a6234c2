//! Which face of a frame gets whose: decided by likeness to a photo or by its place in the frame, from that frame alone, so that where a
//! chunk begins changes nothing.

use crate::contract::{FaceOrder, Faces};
use crate::frame::{Turn, YuvRef};
use crate::vision::recogniser::{Recogniser, cosine};
use crate::vision::{Face, VisionError};

/// Who is looked for in a frame.
pub enum Part {
    /// Those that the job's `faces` names.
    Anyone(Faces),
    /// The one at this place in the cast's order, from 0.
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
    order: FaceOrder,
    /// There where somebody is to be like a photo.
    recogniser: Option<Recogniser>,
}

impl Cast {
    /// `order` is that of positions; `recogniser` made the embeddings of the parts.
    pub fn new(parts: Vec<Part>, order: FaceOrder, recogniser: Option<Recogniser>) -> Self {
        Self { parts, order, recogniser }
    }

    /// The faces that are changed: number of the face, number of the person, in the order of the faces. `faces` are ordered from the left of
    /// the picture as it is stored.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn assign(&mut self, picture: &YuvRef<'_>, faces: &[Face]) -> Result<Vec<(usize, usize)>, VisionError> {
        let in_order = ordered(faces, self.order, picture.turn, (picture.width(), picture.height()));
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
                Part::Position(place) => taken.extend(in_order.get(*place).map(|&face| (face, person))),
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

/// The faces in `order`, as the picture is shown; `size` is the stored one's.
fn ordered(faces: &[Face], order: FaceOrder, turn: Turn, size: (usize, usize)) -> Vec<usize> {
    // Where one pixel to the right of the shown picture, or down, leads in the stored one.
    let origin = turn.to_stored([0.0, 0.0], size);
    let along = |face: usize, direction: [f64; 2]| {
        let ([x, y], to) = (faces[face].mesh.centre(), turn.to_stored(direction, size));
        (x - origin[0]) * (to[0] - origin[0]) + (y - origin[1]) * (to[1] - origin[1])
    };
    let (across, down) = (|face| along(face, [1.0, 0.0]), |face| along(face, [0.0, 1.0]));
    let area = |face: usize| faces[face].mesh.bounds().area();
    let place = |face: usize| match order {
        FaceOrder::LeftRight => across(face),
        FaceOrder::RightLeft => -across(face),
        FaceOrder::TopBottom => down(face),
        FaceOrder::BottomTop => -down(face),
        FaceOrder::SmallLarge => area(face),
        FaceOrder::LargeSmall => -area(face),
    };
    let mut numbers: Vec<usize> = (0..faces.len()).collect();
    numbers.sort_by(|&a, &b| place(a).total_cmp(&place(b)).then(across(a).total_cmp(&across(b))));
    numbers
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
        Face { mesh: Mesh(points), presence: 1.0, turn: 0.0 }
    }

    fn assign(parts: Vec<Part>, faces: &[Face], turn: Turn) -> Vec<(usize, usize)> {
        assign_by(FaceOrder::default(), parts, faces, turn)
    }

    fn assign_by(order: FaceOrder, parts: Vec<Part>, faces: &[Face], turn: Turn) -> Vec<(usize, usize)> {
        let frame = Frame::<u8>::grey(400, 200, Color::sdr(Matrix::Bt709, false)).shown_turned(turn);
        Cast::new(parts, order, None).assign(&frame.view(), faces).unwrap()
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

    #[test]
    fn faces_are_counted_in_any_order() {
        let faces = [face(50.0, 60.0, 20.0), face(200.0, 20.0, 40.0), face(300.0, 150.0, 30.0)];
        let count = |order: FaceOrder, turn: Turn| {
            [0, 1, 2].map(|place| assign_by(order, vec![Part::Position(place)], &faces, turn)[0].0)
        };
        for (order, expected) in
            FaceOrder::ALL.into_iter().zip([[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1], [1, 2, 0]])
        {
            assert_eq!(count(order, Turn::None), expected, "{order}");
            // Shown upside down, left is right and the top is the bottom; sizes stay.
            let is_size = matches!(order, FaceOrder::SmallLarge | FaceOrder::LargeSmall);
            let turned = if is_size { expected } else { [expected[2], expected[1], expected[0]] };
            assert_eq!(count(order, Turn::Half), turned, "{order}");
        }
        let twins = [face(300.0, 60.0, 20.0), face(50.0, 60.0, 20.0)];
        let first = assign_by(FaceOrder::LargeSmall, vec![Part::Position(0)], &twins, Turn::None);
        assert_eq!(first, [(1, 0)], "of equals the one at the left");
    }
}
