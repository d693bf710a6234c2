//! Bytes and words: what loops over samples need to know of them.

use super::{PlaneMut, PlaneRef, Planes, PlanesMut};

/// A sample of a plane.
pub trait Sample: Copy + Default + PartialEq + Into<f32> + Into<u32> + 'static {
    /// A value for every sample that can be stored, so that looking one up needs no check.
    type Table: Send + Sync;

    /// The table of `value(sample)`.
    fn table(value: impl Fn(f32) -> f32) -> Box<Self::Table>;

    /// The table's value.
    fn look_up(self, table: &Self::Table) -> f32;

    /// The nearest sample to a value, 0..=`max`; `max` is at most the largest that can be stored.
    fn nearest(value: f32, max: f32) -> Self;

    /// Planes of such samples.
    fn planes(planes: [PlaneRef<'_, Self>; 3]) -> Planes<'_>;

    /// Writable planes of such samples.
    fn planes_mut(planes: [PlaneMut<'_, Self>; 3]) -> PlanesMut<'_>;
}

/// A value's nearest whole number in the low mantissa bits, for 0..=`max` < 2²²; vectorises where a saturating cast does
/// not.
#[inline(always)]
fn rounded(value: f32, max: f32) -> u32 {
    const SHIFT: f32 = 8_388_608.0; // 2²³: the sum's low mantissa bits are the rounded value
    // Written so that each is one instruction, and what is not a number ends as 0.
    let positive = if value > 0.0 { value } else { 0.0 };
    (if positive < max { positive } else { max } + SHIFT).to_bits()
}

impl Sample for u8 {
    type Table = [f32; 256];

    fn table(value: impl Fn(f32) -> f32) -> Box<[f32; 256]> {
        Box::new(std::array::from_fn(|sample| value(sample as f32)))
    }

    #[inline(always)]
    fn look_up(self, table: &[f32; 256]) -> f32 {
        table[usize::from(self)]
    }

    #[inline(always)]
    fn nearest(value: f32, max: f32) -> u8 {
        rounded(value, max) as u8
    }

    fn planes(planes: [PlaneRef<'_, u8>; 3]) -> Planes<'_> {
        Planes::U8(planes)
    }

    fn planes_mut(planes: [PlaneMut<'_, u8>; 3]) -> PlanesMut<'_> {
        PlanesMut::U8(planes)
    }
}

impl Sample for u16 {
    /// For all 16 bits, whatever the depth: damaged files hold samples beyond it.
    type Table = [f32; 65_536];

    fn table(value: impl Fn(f32) -> f32) -> Box<[f32; 65_536]> {
        let values: Box<[f32]> = (0..=u16::MAX).map(|sample| value(f32::from(sample))).collect();
        values.try_into().unwrap_or_else(|_| unreachable!("there are 65536 words"))
    }

    #[inline(always)]
    fn look_up(self, table: &[f32; 65_536]) -> f32 {
        table[usize::from(self)]
    }

    #[inline(always)]
    fn nearest(value: f32, max: f32) -> u16 {
        rounded(value, max) as u16
    }

    fn planes(planes: [PlaneRef<'_, u16>; 3]) -> Planes<'_> {
        Planes::U16(planes)
    }

    fn planes_mut(planes: [PlaneMut<'_, u16>; 3]) -> PlanesMut<'_> {
        PlanesMut::U16(planes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_the_nearest_sample() {
        for (value, expected) in [(-3.0, 0), (0.4, 0), (0.6, 1), (254.7, 255), (999.0, 255), (f32::NAN, 0)] {
            assert_eq!(u8::nearest(value, 255.0), expected, "{value}");
        }
        for (value, max, expected) in
            [(1023.4, 1023.0, 1023), (5000.0, 1023.0, 1023), (65_534.6, 65_535.0, 65_535), (f32::NAN, 1023.0, 0)]
        {
            assert_eq!(u16::nearest(value, max), expected, "{value}");
        }
    }

    #[test]
    fn tables_hold_every_sample() {
        let (bytes, words) = (u8::table(|sample| 2.0 * sample), u16::table(|sample| 2.0 * sample));
        assert!((0..=u8::MAX).all(|sample| sample.look_up(&bytes) == 2.0 * f32::from(sample)));
        assert!((0..=u16::MAX).all(|sample| sample.look_up(&words) == 2.0 * f32::from(sample)));
    }
}
