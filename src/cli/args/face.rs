//! Whose face becomes whose, and where the new one shows: options of `facemill swap`.

use std::path::PathBuf;

use clap::Args;

use super::blend_ratio;
use crate::contract::{
    ColourMatch, FaceDetector, FaceLandmarks, FaceOrder, FaceRegion, Faces, Masks, NetworkId, Restorer, Upscaler,
};

/// How faces of the clip are found.
#[derive(Debug, Args)]
pub struct DetectorArgs {
    /// The network that finds faces (facemill models list --role detector) [default: the built-in one]
    #[arg(long, value_name = "MODEL", help_heading = "Face")]
    pub detector_model: Option<NetworkId>,
    /// Faces with a lower score are none [default: as the network's card says; 0.6 for the built-in one]
    #[arg(long, value_name = "0.0..1.0", value_parser = blend_ratio, help_heading = "Face")]
    pub detector_score: Option<f64>,
    /// Faces whose boxes are smaller than this on the longer side, in pixels of the clip, are left alone [default: none are]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=16384), help_heading = "Face")]
    pub detector_min_size: Option<u32>,
    /// Degrees by which frames are turned, beside upright, to be looked at again: 90, 180, 270; for faces that lie or stand on their heads
    #[arg(long, value_name = "DEGREES,…", value_delimiter = ',', help_heading = "Face")]
    pub detector_angles: Vec<u16>,
}

impl From<&DetectorArgs> for FaceDetector {
    fn from(args: &DetectorArgs) -> Self {
        Self {
            model: args.detector_model.clone(),
            score: args.detector_score,
            min_size: args.detector_min_size,
            angles: args.detector_angles.clone(),
        }
    }
}

/// What comes before and after a swapper.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Whose points bring a face to the swapper's template
    #[command(flatten)]
    pub landmarker: LandmarkerArgs,
    /// How a network's new face is made to look as the target did
    #[command(flatten)]
    pub blending: BlendingArgs,
    /// What makes the new face finer
    #[command(flatten)]
    pub restorer: RestorerArgs,
    /// What makes whole frames larger
    #[command(flatten)]
    pub upscaler: UpscalerArgs,
}

/// Whose points bring a face to the swapper's template.
#[derive(Debug, Args)]
pub struct LandmarkerArgs {
    /// The network whose points bring a face to the swapper's template (facemill models list --role landmarks) [default: the mesh]
    #[arg(long, value_name = "MODEL", help_heading = "Face")]
    pub landmarker_model: Option<NetworkId>,
    /// A face of which it is less sure is left as it is
    #[arg(long, default_value_t = 0.5, value_name = "0.0..1.0", value_parser = blend_ratio, help_heading = "Face")]
    pub landmarker_score: f64,
}

impl From<&LandmarkerArgs> for Option<FaceLandmarks> {
    fn from(args: &LandmarkerArgs) -> Self {
        args.landmarker_model.clone().map(|model| FaceLandmarks { model, score: args.landmarker_score })
    }
}

/// What makes the new face finer.
#[derive(Debug, Args)]
pub struct RestorerArgs {
    /// A network that makes the new face finer (facemill models list --role restorer)
    #[arg(long, value_name = "MODEL", help_heading = "Face")]
    pub restorer: Option<NetworkId>,
    /// Share of the finer face in the result
    #[arg(long, default_value_t = 0.8, value_name = "0.0..1.0", value_parser = blend_ratio, help_heading = "Face")]
    pub restorer_blend: f64,
    /// How faithful the finer face is to the one it is made of, where the network lets one choose
    #[arg(long, default_value_t = 0.5, value_name = "0.0..1.0", value_parser = blend_ratio, help_heading = "Face")]
    pub restorer_weight: f64,
}

impl From<&RestorerArgs> for Option<Restorer> {
    fn from(args: &RestorerArgs) -> Self {
        let RestorerArgs { restorer, restorer_blend: blend, restorer_weight: weight } = args;
        restorer.clone().map(|model| Restorer { model, blend: *blend, weight: *weight })
    }
}

/// What makes whole frames larger.
#[derive(Debug, Args)]
pub struct UpscalerArgs {
    /// A network that makes whole frames larger, after their faces; also with --swapper none (facemill models list --role upscaler)
    #[arg(long, value_name = "MODEL", help_heading = "Face")]
    pub upscaler: Option<NetworkId>,
    /// Share of the network's frame in the result; the rest is interpolated
    #[arg(long, default_value_t = 0.8, value_name = "0.0..1.0", value_parser = blend_ratio, help_heading = "Face")]
    pub upscaler_blend: f64,
}

impl From<&UpscalerArgs> for Option<Upscaler> {
    fn from(args: &UpscalerArgs) -> Self {
        args.upscaler.clone().map(|model| Upscaler { model, blend: args.upscaler_blend })
    }
}

/// How a network's new face is made to look as the target did; mesh does that by itself.
#[derive(Debug, Args)]
pub struct BlendingArgs {
    /// How it takes on the colours of the target: none, lab (mean and contrast in L*a*b*), relight (its light only)
    #[arg(long, default_value = "none", value_name = "none|lab|relight", value_parser = colour_match, help_heading = "Face")]
    pub colour_match: ColourMatch,
    /// It is made as sharp and as grainy as the target was
    #[arg(long, help_heading = "Face")]
    pub texture_match: bool,
}

/// What limits the place of a network's new face; mesh has its own.
#[derive(Debug, Args)]
pub struct MaskArgs {
    /// Softness of the frame around the face's crop, share of half of its side
    #[arg(long, default_value_t = 0.3, value_name = "0.0..1.0", value_parser = blend_ratio, help_heading = "Face")]
    pub mask_blur: f64,
    /// Width of that frame at the top, right, bottom and left, percent of the crop
    #[arg(long, value_name = "T,R,B,L", value_parser = padding, default_value = "0,0,0,0", help_heading = "Face")]
    pub mask_padding: Padding,
    /// Only within the hull of the face's mesh
    #[arg(long, help_heading = "Face")]
    pub mask_hull: bool,
    /// The network that keeps what lies before the face, or around it (facemill models list --role occluder); selfie_segmentation, which is
    /// built in, keeps the background only
    #[arg(long, value_name = "MODEL", help_heading = "Face")]
    pub mask_occluder: Option<NetworkId>,
    /// The network that knows the parts of a face (facemill models list --role parser)
    #[arg(long, value_name = "MODEL", help_heading = "Face")]
    pub mask_parser: Option<NetworkId>,
    /// The parts that are changed, where there is a parser: skin, brows, eyes, glasses, nose, mouth, lips [default: all]
    #[arg(long, value_name = "PART,…", value_delimiter = ',', value_parser = region, help_heading = "Face")]
    pub mask_regions: Vec<FaceRegion>,
}

impl From<&MaskArgs> for Masks {
    fn from(args: &MaskArgs) -> Self {
        Self {
            blur: args.mask_blur,
            padding: args.mask_padding.0,
            hull: args.mask_hull,
            occluder: args.mask_occluder.clone(),
            parser: args.mask_parser.clone(),
            regions: args.mask_regions.clone(),
        }
    }
}

/// Percent of a crop at its top, right, bottom and left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Padding([f64; 4]);

fn padding(text: &str) -> Result<Padding, String> {
    let percent = |part: &str| part.parse().ok().filter(|value| (0.0..=100.0).contains(value));
    let sides: Option<Vec<f64>> = text.split(',').map(percent).collect();
    let sides = sides.and_then(|sides| sides.try_into().ok());
    sides.map(Padding).ok_or_else(|| "expected four numbers in 0..100, as in 10,0,0,0".to_owned())
}

fn region(name: &str) -> Result<FaceRegion, String> {
    serde_json::from_value(name.into())
        .map_err(|_| "expected one of: skin, brows, eyes, glasses, nose, mouth, lips".to_owned())
}

pub(super) fn face_order(name: &str) -> Result<FaceOrder, String> {
    let names = || FaceOrder::ALL.map(|order| order.to_string()).join(", ");
    serde_json::from_value(name.into()).map_err(|_| format!("expected one of: {}", names()))
}

fn colour_match(name: &str) -> Result<ColourMatch, String> {
    serde_json::from_value(name.into()).map_err(|_| "expected one of: none, lab, relight".to_owned())
}

/// Which faces of the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FacesArg {
    /// By a job's `swap.faces`.
    Any(Faces),
    /// The one at this place in the order of faces.
    Position(u32),
}

pub(super) fn faces(text: &str) -> Result<FacesArg, String> {
    match text {
        "largest" => Ok(FacesArg::Any(Faces::Largest)),
        "all" => Ok(FacesArg::Any(Faces::All)),
        place => {
            place.parse().map(FacesArg::Position).map_err(|_| "expected largest, all, or a place from 0".to_owned())
        }
    }
}

/// One person of several, and the photos whose face they get.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Who of the clip.
    pub who: PairWho,
    /// Photos of the other.
    pub sources: Vec<PathBuf>,
}

/// Who of the clip.
#[derive(Clone, Debug, PartialEq)]
pub enum PairWho {
    /// In the order of faces.
    Position(u32),
    /// Who looks like this photo.
    Photo(PathBuf),
}

pub(super) fn pair(text: &str) -> Result<Pair, String> {
    let expected = "expected WHO=PHOTO[,PHOTO], where WHO is a photo or a place from 0";
    let (who, sources) = text.split_once('=').ok_or(expected)?;
    let sources: Vec<PathBuf> = sources.split(',').map(PathBuf::from).collect();
    if who.is_empty() || sources.iter().any(|photo| photo.as_os_str().is_empty()) {
        return Err(expected.to_owned());
    }
    let who = who.parse().map_or_else(|_| PairWho::Photo(who.into()), PairWho::Position);
    Ok(Pair { who, sources })
}

pub(super) fn distance(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=2.0).contains(value));
    value.ok_or_else(|| "expected a number in 0.0..2.0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_and_pairs_are_read() {
        assert_eq!(faces("all"), Ok(FacesArg::Any(Faces::All)));
        assert_eq!(faces("2"), Ok(FacesArg::Position(2)));
        assert!(faces("-1").is_err() && faces("left").is_err());
        let read = |text: &str| pair(text).map(|pair| (pair.who, pair.sources));
        assert_eq!(read("1=a.jpg"), Ok((PairWho::Position(1), vec!["a.jpg".into()])));
        assert_eq!(
            read("anna.png=a.jpg,b.jpg"),
            Ok((PairWho::Photo("anna.png".into()), vec!["a.jpg".into(), "b.jpg".into()]))
        );
        for text in ["a.jpg", "=a.jpg", "1=", "1=a.jpg,"] {
            assert!(pair(text).is_err(), "{text}");
        }
        assert_eq!(padding("10,0,2.5,0"), Ok(Padding([10.0, 0.0, 2.5, 0.0])));
        for text in ["10", "1,2,3", "1,2,3,101", "a,b,c,d"] {
            assert!(padding(text).is_err(), "{text}");
        }
        assert!(region("lips").is_ok() && region("ear").is_err());
        assert_eq!(face_order("small-large"), Ok(FaceOrder::SmallLarge));
        assert!(face_order("middle").is_err_and(|expected| expected.ends_with("small-large, large-small")));
        assert!(colour_match("lab") == Ok(ColourMatch::Lab) && colour_match("rgb").is_err());
        assert!(distance("0.6").is_ok() && distance("2.1").is_err());
    }
}
