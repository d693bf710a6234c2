//! Which colours a picture's red, green and blue are.

use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorProfile, LocalizableString, MatrixCoefficients, ProfileText,
    TransferCharacteristics,
};

/// Codes of ITU-T H.273, tables 2 and 3; 2 where an ICC profile says it, or nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub primaries: u16,
    pub transfer: u16,
}

impl Default for Space {
    fn default() -> Self {
        Self::SRGB
    }
}

impl Space {
    pub(super) const SRGB: Self = Self { primaries: 1, transfer: 13 };
    pub(super) const UNKNOWN: Self = Self { primaries: 2, transfer: 2 };

    /// An ICC profile that says the same, for formats that have no room for codes; `None` for what is shown as sRGB.
    pub(super) fn profile(self) -> Option<Vec<u8>> {
        const SRGB_CURVE: u16 = 13;
        // Cameras' curves are not undone by players: they show them as sRGB.
        let transfer = if matches!(self.transfer, 1 | 2 | 6 | 14 | 15) { SRGB_CURVE } else { self.transfer };
        if matches!(self.primaries, 1 | 2) && transfer == SRGB_CURVE {
            return None;
        }
        let code = |code: u16| u8::try_from(code).ok();
        let mut profile = ColorProfile::new_from_cicp(CicpProfile {
            color_primaries: CicpColorPrimaries::try_from(code(self.primaries)?).ok()?,
            transfer_characteristics: TransferCharacteristics::try_from(code(transfer)?).ok()?,
            matrix_coefficients: MatrixCoefficients::Identity,
            full_range: true,
        });
        let is_known = profile.red_trc.is_some();
        let text = |text: String| {
            let (language, country) = ("en".to_owned(), "US".to_owned());
            Some(ProfileText::Localizable(vec![LocalizableString::new(language, country, text)]))
        };
        profile.description = text(format!("H.273 primaries {}, transfer {transfer}", self.primaries));
        profile.copyright = text("Public Domain".to_owned());
        profile.encode().ok().filter(|_| is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_srgb_needs_a_profile() {
        for (primaries, transfer, is_needed) in
            [(1, 13, false), (1, 1, false), (2, 2, false), (12, 13, true), (12, 1, true), (9, 14, true), (1, 4, true)]
        {
            assert_eq!(Space { primaries, transfer }.profile().is_some(), is_needed, "{primaries} {transfer}");
        }
        let p3 = ColorProfile::new_from_slice(&Space { primaries: 12, transfer: 13 }.profile().unwrap()).unwrap();
        let expected = ColorProfile::new_display_p3();
        let near = |a: moxcms::Xyzd, b: moxcms::Xyzd| {
            [a.x - b.x, a.y - b.y, a.z - b.z].iter().all(|difference| difference.abs() < 0.001)
        };
        assert!(near(p3.red_colorant, expected.red_colorant) && near(p3.green_colorant, expected.green_colorant));
    }
}
