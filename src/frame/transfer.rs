//! What light a signal stands for, and the signal of an ordinary screen for the same light.
//!
//! Networks have learnt from ordinary pictures, and the swapper's light and detail are ratios of ordinary luma. HDR
//! signals are therefore looked at through a map to *levels*: the signal that shows the same light on an ordinary
//! screen (BT.1886) whose white is HDR's reference white (BT.2408). 1 is that white; what is brighter goes on above.

use std::sync::OnceLock;

/// What light a signal stands for (ITU-T H.273 TransferCharacteristics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// Any of normal contrast (codes 1, 6, 13, 14, 15, …): a signal is its own level.
    Sdr,
    /// SMPTE ST 2084, perceptual quantisation (code 16).
    Pq,
    /// ARIB STD-B67, hybrid log-gamma (code 18), as a screen of 1000 cd/m² shows it.
    Hlg,
}

/// Reference white, cd/m²: ITU-R BT.2408, table 1.
const WHITE: f64 = 203.0;
/// Gamma of the ordinary screen: ITU-R BT.1886.
const SCREEN_GAMMA: f64 = 2.4;
/// Nominal peak of an HLG screen, cd/m², and the system gamma that belongs to it: ITU-R BT.2100, table 5.
const HLG_PEAK: f64 = 1000.0;
const HLG_GAMMA: f64 = 1.2;
/// Levels from here on are compressed for networks, so that highlights still differ.
const KNEE: f64 = 0.8;

impl Transfer {
    /// The level of a signal 0..=1; both clamped from below, the signal also from above.
    pub fn level(self, signal: f64) -> f64 {
        let signal = signal.clamp(0.0, 1.0);
        match self {
            Transfer::Sdr => signal,
            Transfer::Pq => level_of_nits(pq_eotf(signal)),
            Transfer::Hlg => level_of_nits(HLG_PEAK * hlg_inverse_oetf(signal).powf(HLG_GAMMA)),
        }
    }

    /// The signal, 0..=1, of a level: the inverse of [`Transfer::level`].
    pub fn signal(self, level: f64) -> f64 {
        let nits = WHITE * level.max(0.0).powf(SCREEN_GAMMA);
        let signal = match self {
            Transfer::Sdr => level,
            Transfer::Pq => pq_inverse_eotf(nits),
            Transfer::Hlg => hlg_oetf((nits / HLG_PEAK).powf(1.0 / HLG_GAMMA)),
        };
        signal.clamp(0.0, 1.0)
    }

    /// How many times farther apart levels are than signals, for a well-lit face (levels 0.55 to 0.75): what differences
    /// of chroma are multiplied by. It varies with the light, hardly with anything that is computed from it.
    pub fn contrast(self) -> f64 {
        const FACE: (f64, f64) = (0.55, 0.75);
        (FACE.1 - FACE.0) / (self.signal(FACE.1) - self.signal(FACE.0))
    }

    /// What networks are shown for a signal of R, G or B, both on the scale 0..=255. `None`: the signal itself.
    pub fn shown(self) -> Option<&'static Shown> {
        static SHOWN: [OnceLock<Shown>; 2] = [const { OnceLock::new() }; 2];
        let slot = match self {
            Transfer::Sdr => return None,
            Transfer::Pq => &SHOWN[0],
            Transfer::Hlg => &SHOWN[1],
        };
        Some(slot.get_or_init(|| Shown::new(self)))
    }
}

/// A map from signals to what networks are shown; see [`Transfer::shown`].
pub struct Shown {
    forth: [f32; Shown::STEPS + 2],
    back: [f32; Shown::STEPS + 2],
}

impl Shown {
    const STEPS: usize = 1024;
    /// The brightest that a network can mean, of 255: about 600 cd/m². What is shown above it differs by less than networks
    /// err, and would stand for thousands.
    const BRIGHTEST: f64 = 254.0;

    fn new(transfer: Transfer) -> Self {
        let share = |i: usize| i as f64 / Self::STEPS as f64;
        let level = |shown: f64| expand(shown.min(Self::BRIGHTEST / 255.0));
        Self {
            forth: std::array::from_fn(|i| (255.0 * compress(transfer.level(share(i)))) as f32),
            back: std::array::from_fn(|i| (255.0 * transfer.signal(level(share(i)))) as f32),
        }
    }

    /// For a signal 0..=255.
    #[inline]
    pub fn of(&self, signal: f32) -> f32 {
        look_up(&self.forth, signal)
    }

    /// The way back: the signal 0..=255 of what a network makes, 0..=255. Highlights that were shown brighter than 254 come
    /// back as bright as that.
    #[inline]
    pub fn signal(&self, shown: f32) -> f32 {
        look_up(&self.back, shown)
    }
}

#[inline]
fn look_up(table: &[f32; Shown::STEPS + 2], value: f32) -> f32 {
    let at = value.clamp(0.0, 255.0) * (Shown::STEPS as f32 / 255.0);
    let below = at as usize;
    table[below] + (table[below + 1] - table[below]) * (at - below as f32)
}

/// Levels below the knee stay, those above come near to 1.
fn compress(level: f64) -> f64 {
    let room = 1.0 - KNEE;
    if level <= KNEE { level } else { KNEE + room * (1.0 - (-(level - KNEE) / room).exp()) }
}

/// The inverse of [`compress`], for less than 1.
fn expand(shown: f64) -> f64 {
    let room = 1.0 - KNEE;
    if shown <= KNEE { shown } else { KNEE - room * (1.0 - (shown - KNEE) / room).ln() }
}

fn level_of_nits(nits: f64) -> f64 {
    (nits / WHITE).powf(1.0 / SCREEN_GAMMA)
}

/// Constants of ST 2084: ITU-R BT.2100, table 4.
mod pq {
    pub const M1: f64 = 2610.0 / 16384.0;
    pub const M2: f64 = 2523.0 / 4096.0 * 128.0;
    pub const C1: f64 = 3424.0 / 4096.0;
    pub const C2: f64 = 2413.0 / 4096.0 * 32.0;
    pub const C3: f64 = 2392.0 / 4096.0 * 32.0;
    pub const PEAK: f64 = 10_000.0;
}

/// cd/m² of a PQ signal.
fn pq_eotf(signal: f64) -> f64 {
    let root = signal.powf(1.0 / pq::M2);
    pq::PEAK * ((root - pq::C1).max(0.0) / (pq::C2 - pq::C3 * root)).powf(1.0 / pq::M1)
}

/// The PQ signal of cd/m².
fn pq_inverse_eotf(nits: f64) -> f64 {
    let power = (nits / pq::PEAK).powf(pq::M1);
    ((pq::C1 + pq::C2 * power) / (1.0 + pq::C3 * power)).powf(pq::M2)
}

/// Constants of HLG: ITU-R BT.2100, table 5.
mod hlg {
    pub const A: f64 = 0.178_832_77;
    pub const B: f64 = 1.0 - 4.0 * A;
    /// ½ − a·ln(4a)
    pub const C: f64 = 0.559_910_73;
}

/// The HLG signal of scene light 0..=1.
fn hlg_oetf(light: f64) -> f64 {
    if light <= 1.0 / 12.0 { (3.0 * light).sqrt() } else { hlg::A * (12.0 * light - hlg::B).ln() + hlg::C }
}

/// Scene light 0..=1 of an HLG signal.
fn hlg_inverse_oetf(signal: f64) -> f64 {
    if signal <= 0.5 { signal * signal / 3.0 } else { (((signal - hlg::C) / hlg::A).exp() + hlg::B) / 12.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(a: f64, b: f64, tolerance: f64) -> bool {
        (a - b).abs() <= tolerance
    }

    /// ITU-R BT.2408, table 1 and BT.2100: signals in per cent of known light.
    #[test]
    fn signals_are_those_of_the_recommendations() {
        for (nits, signal) in [(0.0, 0.0), (0.1, 0.0623), (1.0, 0.1499), (100.0, 0.5081), (203.0, 0.5807)] {
            assert!(is_near(pq_inverse_eotf(nits), signal, 1e-4), "{nits}: {}", pq_inverse_eotf(nits));
        }
        for (nits, signal) in [(1000.0, 0.7518), (4000.0, 0.9026), (10_000.0, 1.0)] {
            assert!(is_near(pq_inverse_eotf(nits), signal, 1e-4), "{nits}: {}", pq_inverse_eotf(nits));
            assert!(is_near(pq_eotf(signal) / nits, 1.0, 2e-3), "{nits}: {}", pq_eotf(signal));
        }
        for (light, signal) in [(0.0, 0.0), (1.0 / 12.0, 0.5), (0.265, 0.75), (1.0, 1.0)] {
            assert!(is_near(hlg_oetf(light), signal, 1e-3), "{light}: {}", hlg_oetf(light));
        }
        // Reference white: 58 % PQ, 75 % HLG.
        assert!(is_near(Transfer::Pq.signal(1.0), 0.58, 0.002));
        assert!(is_near(Transfer::Hlg.signal(1.0), 0.75, 0.002));
    }

    #[test]
    fn levels_come_back_as_signals() {
        for transfer in [Transfer::Sdr, Transfer::Pq, Transfer::Hlg] {
            let mut before = -1.0;
            for code in 0..=1023 {
                let signal = f64::from(code) / 1023.0;
                let level = transfer.level(signal);
                assert!(is_near(transfer.signal(level), signal, 1e-6), "{transfer:?} {code}: {level}");
                assert!(level > before || code == 0, "{transfer:?} {code}");
                before = level;
            }
            assert_eq!((transfer.level(-1.0), transfer.level(0.0)), (0.0, 0.0), "{transfer:?}");
            assert_eq!(transfer.level(7.0), transfer.level(1.0), "{transfer:?}");
        }
    }

    #[test]
    fn networks_see_greys_as_on_an_ordinary_screen() {
        assert!(Transfer::Sdr.shown().is_none());
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            let shown = transfer.shown().unwrap();
            for level in [0.05, 0.25, 0.5, 0.75] {
                let found = shown.of((255.0 * transfer.signal(level)) as f32);
                assert!(is_near(f64::from(found), 255.0 * level, 0.3), "{transfer:?} {level}: {found}");
            }
            // White is white, and what is brighter is not cut off.
            let white = shown.of((255.0 * transfer.signal(1.0)) as f32);
            let brightest = shown.of(255.0);
            assert!(white > 230.0 && brightest > white + 10.0 && brightest <= 255.0, "{white} {brightest}");
            assert_eq!((shown.of(-3.0), shown.of(900.0)), (shown.of(0.0), brightest));
        }
    }

    #[test]
    fn what_networks_make_becomes_a_signal_again() {
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            let shown = transfer.shown().unwrap();
            let mut before = -1.0;
            for value in 0..=254u8 {
                let signal = shown.signal(f32::from(value));
                let found = shown.of(signal);
                assert!((found - f32::from(value)).abs() < 0.25, "{transfer:?} {value}: {signal} {found}");
                assert!(signal > before, "{transfer:?} {value}");
                before = signal;
            }
            // White of a network is a bright highlight, not the screen's limit.
            let nits = WHITE * transfer.level(f64::from(shown.signal(255.0)) / 255.0).powf(SCREEN_GAMMA);
            assert!((500.0..800.0).contains(&nits), "{transfer:?}: {nits}");
            assert!(shown.signal(f32::INFINITY) == shown.signal(255.0) && shown.signal(-1.0) == shown.signal(0.0));
        }
    }

    #[test]
    fn hdr_signals_of_a_face_lie_closer_together() {
        assert_eq!(Transfer::Sdr.contrast(), 1.0);
        assert!((2.0..3.5).contains(&Transfer::Pq.contrast()), "{}", Transfer::Pq.contrast());
        assert!((1.2..1.8).contains(&Transfer::Hlg.contrast()), "{}", Transfer::Hlg.contrast());
    }
}
