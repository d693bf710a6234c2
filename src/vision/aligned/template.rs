//! Where networks expect a face's eyes, nose and mouth in their crop.

use crate::vision::geometry::{Affine, Point, Similarity};

/// A template: five points in a square crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Template {
    /// SimSwap, UniFace: a face with much forehead.
    Arcface112V1,
    /// ArcFace's own (insightface's `arcface_dst`): recognisers, Ghost.
    Arcface112V2,
    /// inswapper: the same in a crop of 128, with a margin.
    Arcface128,
    /// Restorers, BlendSwap: the crop of the data set FFHQ, head and hair.
    Ffhq512,
    /// HifiFace: much as [`Template::Arcface128`].
    Mtcnn512,
}

impl Template {
    /// Each of them.
    pub const ALL: [Template; 5] =
        [Self::Arcface112V1, Self::Arcface112V2, Self::Arcface128, Self::Ffhq512, Self::Mtcnn512];

    /// The template of a name as model cards write it: `arcface_112_v1`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// Its name in model cards.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arcface112V1 => "arcface_112_v1",
            Self::Arcface112V2 => "arcface_112_v2",
            Self::Arcface128 => "arcface_128",
            Self::Ffhq512 => "ffhq_512",
            Self::Mtcnn512 => "mtcnn_512",
        }
    }

    /// Eye centres, tip of the nose and mouth corners (of pairs the picture's left first) in a crop of `side` pixels.
    ///
    /// Source: FaceFusion's table of the templates that the networks were trained with, in shares of the side.
    pub fn points(self, side: f64) -> [Point; 5] {
        let shares = match self {
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
        shares.map(|[x, y]| [x * side, y * side])
    }

    /// Crop pixels → picture pixels for a face whose five points in the picture are `points`; a pixel (column, row) of the
    /// crop has its centre at (column, row), as in OpenCV's `warpAffine`.
    ///
    /// The least-squares similarity without reflection that brings the face to the template, turned around: errors are
    /// least in the crop, as the networks were trained (Umeyama; `cv2.estimateAffinePartial2D`). A fit the other way would
    /// make profiles smaller. Points that all coincide give a map that is not finite, with which nothing is sampled
    /// and nothing is pasted.
    pub fn to_picture(self, side: f64, points: &[Point; 5]) -> Affine {
        let to_crop = Similarity::fit(points, &self.points(side)).affine();
        to_crop.inverse().unwrap_or(Affine([[f64::NAN; 3]; 2]))
    }
}
