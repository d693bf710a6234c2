//! How a new face leaves a head that turns away: in profile the mesh no longer lies on the face.

use super::canonical::smoothstep;

/// Turned by this much the new face begins to fade, and is gone; degrees.
const FADE: (f32, f32) = (46.0, 66.0);

/// How much of a new face may show on a head that is turned by `degrees`: 1 from the front, 0 in profile.
pub fn fade(degrees: f32) -> f32 {
    1.0 - smoothstep(FADE.0, FADE.1, degrees.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_face_fades_towards_profile() {
        for (turn, expected) in [(0.0, 1.0), (-46.0, 1.0), (56.0, 0.5), (-56.0, 0.5), (66.0, 0.0), (-120.0, 0.0)] {
            assert_eq!(fade(turn), expected, "{turn}");
        }
    }
}
