//! Where a network wants the eyes, the nose and the corners of the mouth.

use crate::vision::geometry::{Affine, Point, Similarity};

/// A template by the name that cards use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Template {
    /// `arcface_112_v1`
    Arcface112V1,
    /// `arcface_112_v2`
    Arcface112V2,
    /// `arcface_128`
    Arcface128,
    /// `ffhq_512`
    Ffhq512,
    /// `mtcnn_512`
    Mtcnn512,
}

impl Template {
    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "arcface_112_v1" => Self::Arcface112V1,
            "arcface_112_v2" => Self::Arcface112V2,
            "arcface_128" => Self::Arcface128,
            "ffhq_512" => Self::Ffhq512,
            "mtcnn_512" => Self::Mtcnn512,
            _ => return None,
        })
    }

    /// Five points in a crop of this side, pixels.
    pub fn points(self, side: f64) -> [Point; 5] {
        let shares: [Point; 5] = match self {
            Self::Arcface112V1 => {
                [[0.35473, 0.45659], [0.64527, 0.45659], [0.5, 0.61154], [0.37913, 0.77688], [0.62087, 0.77688]]
            }
            Self::Arcface112V2 => {
                [[0.34192, 0.46157], [0.65653, 0.45983], [0.50023, 0.64051], [0.37098, 0.82469], [0.63152, 0.82325]]
            }
            Self::Arcface128 => {
                [[0.36168, 0.40388], [0.63697, 0.40235], [0.50020, 0.56044], [0.38710, 0.72161], [0.61508, 0.72034]]
            }
            Self::Ffhq512 => {
                [[0.37692, 0.46865], [0.62286, 0.46913], [0.50124, 0.61332], [0.39309, 0.72541], [0.61150, 0.72490]]
            }
            Self::Mtcnn512 => {
                [[0.36563, 0.46734], [0.63305, 0.46586], [0.50019, 0.61943], [0.39033, 0.77599], [0.61179, 0.77476]]
            }
        };
        shares.map(|point| point.map(|share| share * side))
    }

    /// Crop pixels → picture pixels.
    pub fn to_picture(self, side: f64, points: &[Point; 5]) -> Affine {
        Similarity::fit(&self.points(side), points).affine()
    }
}
