//! What differs between a clip and what came of it. Nothing may, but for what a recipe declares.

use std::fmt;

use super::look::{Cue, Look, Picture, Sound, Time};

/// Largest change of the time from the first frame to the first packet of sound, seconds.
const SYNC_MAX: f64 = 0.001;
/// Rounding in sums of floating-point seconds.
const ROUNDING: f64 = 1e-7;

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A word by which recipes declare it.
    pub what: &'static str,
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.what, self.detail)
    }
}

/// How two clips are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// Frames must be the same, bit by bit.
    pub lossless: bool,
    /// The source's frames have no times: so many are shown in so many seconds.
    pub untimed: Option<(i64, i64)>,
    /// The output begins at 0, whatever the source's clock showed.
    pub moved: bool,
    /// The output's container counts in milliseconds (Matroska, WebM); all others keep every tick.
    pub rounds_times: bool,
}

/// Collects findings.
struct Findings(Vec<Finding>);

impl Findings {
    fn note(&mut self, what: &'static str, detail: String) {
        self.0.push(Finding { what, detail });
    }

    fn unless_same<T: PartialEq + fmt::Debug>(&mut self, what: &'static str, is: &T, was: &T) {
        if is != was {
            self.note(what, format!("{is:?}, was {was:?}"));
        }
    }
}

/// Everything that differs.
pub fn compare(source: &Look, output: &Look, terms: Terms) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    if !output.complaints.is_empty() && source.complaints.is_empty() {
        found.note("decoding", output.complaints.lines().next().unwrap_or_default().to_owned());
    }
    frames(source, output, terms, &mut found);
    times(source, output, terms, &mut found);
    picture(&source.picture, &output.picture, &mut found);
    sounds(source, output, terms, &mut found);
    beside(source, output, &mut found);
    found.0
}

fn frames(source: &Look, output: &Look, terms: Terms, found: &mut Findings) {
    if output.times.len() != source.times.len() {
        found.note("count", format!("{} frames, were {}", output.times.len(), source.times.len()));
    }
    if !terms.lossless {
        return;
    }
    let differ = source.frames.iter().zip(&output.frames).filter(|(was, is)| was != is).count();
    if differ > 0 || output.frames.len() != source.frames.len() {
        let first = source.frames.iter().zip(&output.frames).position(|(was, is)| was != is);
        let (is, was) = (output.frames.len(), source.frames.len());
        found.note("frames", format!("{differ} differ, the first is {first:?}; {is} frames, were {was}"));
    }
}

fn times(source: &Look, output: &Look, terms: Terms, found: &mut Findings) {
    let (Some(was_first), Some(is_first)) = (source.times.first(), output.times.first()) else {
        return found.note("count", "no frame is shown".to_owned());
    };
    let made_anew: Vec<Time>;
    let wanted = match terms.untimed {
        Some((frames, seconds)) => {
            let base = (seconds, frames);
            made_anew = (0..source.times.len() as i64).map(|ticks| Time { ticks, base }).collect();
            &made_anew
        }
        None => &source.times,
    };
    let since_first =
        |times: &[Time], index: usize| Time { ticks: times[index].ticks - times[0].ticks, base: times[0].base };
    let tick = is_first.tick();
    let off = (0..wanted.len().min(output.times.len())).find(|index| {
        let (was, is) = (since_first(wanted, *index), since_first(&output.times, *index));
        match terms.rounds_times {
            true => (was.seconds() - is.seconds()).abs() > tick + ROUNDING,
            false => was != is,
        }
    });
    if let Some(index) = off {
        let (was, is) = (since_first(wanted, index), since_first(&output.times, index));
        let detail = format!("frame {index} {:.6} s after the first, was {:.6}", is.seconds(), was.seconds());
        found.note("times", detail);
    }
    // A decoder that holds a frame back delays clips without times by one.
    let wait = terms.untimed.map_or(0.0, |(frames, seconds)| seconds as f64 / frames as f64);
    let is_kept = match terms.rounds_times {
        true => (was_first.seconds() - is_first.seconds()).abs() <= tick + ROUNDING,
        false => was_first == is_first,
    };
    let starts_well = match (terms.moved, terms.untimed) {
        (true, _) => is_first.seconds() >= -ROUNDING,
        (_, Some(_)) => (0.0..=wait + ROUNDING).contains(&is_first.seconds()),
        _ => is_kept,
    };
    if !starts_well {
        found.note(
            "start",
            format!("the first frame is shown at {:.6} s, was {:.6}", is_first.seconds(), was_first.seconds()),
        );
    }
    let (Some(was_end), Some(is_end)) = (source.end, output.end) else { return };
    let (was, is) = (was_end - was_first.seconds(), is_end - is_first.seconds());
    // MP4 tells how far its frames are apart in the order of decoding, which says of the last one no more than this.
    let average_frame = was / source.times.len() as f64;
    if terms.untimed.is_none() && (was - is).abs() > average_frame + tick {
        found.note("length", format!("{is:.6} s, was {was:.6}"));
    }
}

fn picture(was: &Picture, is: &Picture, found: &mut Findings) {
    found.unless_same("size", &is.size, &was.size);
    found.unless_same("pixels", &is.pixels, &was.pixels);
    found.unless_same("aspect", &is.aspect, &was.aspect);
    found.unless_same("rotation", &is.rotation, &was.rotation);
    let colour = |picture: &Picture| {
        let Picture { range, matrix, transfer, primaries, .. } = picture;
        [range, matrix, transfer, primaries].map(String::clone)
    };
    found.unless_same("colour", &colour(is), &colour(was));
    // H.264 and HEVC count as sited left what says nothing.
    let left = |siting: &str| if siting.is_empty() { "left".to_owned() } else { siting.to_owned() };
    if was.pixels.contains("420") {
        found.unless_same("siting", &left(&is.siting), &left(&was.siting));
    }
    if is.fields != was.fields {
        let is = is.fields.chars().next().unwrap_or('?');
        let was = was.fields.chars().next().unwrap_or('?');
        found.note("fields", format!("the first frame is {is}, was {was}"));
    }
    let close = |is: &[f64], was: &[f64]| {
        is.len() == was.len() && is.iter().zip(was).all(|(is, was)| (is - was).abs() <= was.abs() * 1e-3 + 1e-4)
    };
    if !close(&is.mastering, &was.mastering) {
        found.note("mastering", format!("{:?}, was {:?}", is.mastering, was.mastering));
    }
    if !close(&is.light, &was.light) {
        found.note("light", format!("{:?}, was {:?}", is.light, was.light));
    }
}

fn sounds(source: &Look, output: &Look, terms: Terms, found: &mut Findings) {
    if output.sounds.len() != source.sounds.len() {
        found.note("sound", format!("{} tracks, were {}", output.sounds.len(), source.sounds.len()));
    }
    let (Some(was_first), Some(is_first)) = (source.times.first(), output.times.first()) else { return };
    let was_first = match terms.untimed {
        // Sound goes by the container's clock, which begins with the first packet.
        Some(_) => is_first.seconds(),
        None => was_first.seconds(),
    };
    for (number, (was, is)) in source.sounds.iter().zip(&output.sounds).enumerate() {
        // MP4 has one number for all three layers of MPEG audio.
        let family = |codec: &str| if codec == "mp2" { "mp3".to_owned() } else { codec.to_owned() };
        if family(&is.codec) != family(&was.codec) {
            found.note("sound", format!("track {number} is {}, was {}", is.codec, was.codec));
            let (was, is) = (was.heard - was_first, is.heard - is_first.seconds());
            if (was - is).abs() > SYNC_MAX + ROUNDING {
                found.note("sync", format!("track {number} is heard {is:.6} s after the first frame, was {was:.6}"));
            }
            continue;
        }
        let contents = |sound: &Sound| sound.packets.iter().map(|packet| packet.0.clone()).collect::<Vec<_>>();
        let (before, after) = (contents(was), contents(is));
        if before != after {
            let first = before.iter().zip(&after).position(|(was, is)| was != is);
            let (is, was) = (after.len(), before.len());
            found.note(
                "sound",
                format!("track {number} has {is} packets, had {was}; the first that differs is {first:?}"),
            );
        }
        sync(number, (was, was_first), (is, is_first.seconds()), found);
        let off = was.packets.iter().zip(&is.packets).position(|((_, was), (_, is))| {
            let (before, after) = (was.seconds() - was_first, is.seconds() - is_first.seconds());
            (before - after).abs() > (is.tick() + is_first.tick()) / 2.0 + ROUNDING
        });
        if let Some(packet) = off {
            let since = |sound: &Sound, first: f64| sound.packets[packet].1.seconds() - first;
            let (is, was) = (since(is, is_first.seconds()), since(was, was_first));
            found.note("sound-times", format!("track {number} packet {packet} at {is:.6} s, was {was:.6}"));
        }
    }
}

/// The first packet of sound, from the first frame.
fn sync(number: usize, was: (&Sound, f64), is: (&Sound, f64), found: &mut Findings) {
    let offset = |(sound, first): (&Sound, f64)| sound.packets.first().map(|packet| packet.1.seconds() - first);
    let (Some(was), Some(is)) = (offset(was), offset(is)) else { return };
    if (was - is).abs() > SYNC_MAX + ROUNDING {
        found.note("sync", format!("track {number} begins {is:.6} s after the first frame, was {was:.6}"));
    }
}

fn beside(source: &Look, output: &Look, found: &mut Findings) {
    let languages = |look: &Look| look.sounds.iter().map(|sound| sound.tags.language.clone()).collect::<Vec<_>>();
    found.unless_same("languages", &languages(output), &languages(source));
    found.unless_same("dispositions", &dispositions(output), &dispositions(source));
    subtitles(source, output, found);
    if output.subtitles.len() == source.subtitles.len() {
        let tags = |look: &Look| look.subtitles.iter().map(|written| written.tags.clone()).collect::<Vec<_>>();
        found.unless_same("subtitle-tags", &tags(output), &tags(source));
    }
    found.unless_same("cover", &output.covers, &source.covers);
    found.unless_same("attachments", &output.attachments, &source.attachments);
    found.unless_same("chapters", &output.chapters, &source.chapters);
    found.unless_same("title", &output.title, &source.title);
}

/// Texts, and their times from the first frame to a millisecond.
fn subtitles(source: &Look, output: &Look, found: &mut Findings) {
    if output.subtitles.len() != source.subtitles.len() {
        return found.note("subtitles", format!("{} tracks, were {}", output.subtitles.len(), source.subtitles.len()));
    }
    let first = |look: &Look| look.times.first().map_or(0, |time| (time.seconds() * 1000.0).round() as i64);
    for (was, is) in source.subtitles.iter().zip(&output.subtitles) {
        let is_same = |(was, is): (&Cue, &Cue)| {
            let apart = |was: i64, is: i64| ((was - first(source)) - (is - first(output))).abs();
            was.text == is.text && apart(was.from, is.from) <= 1 && apart(was.to, is.to) <= 1
        };
        if was.cues.len() != is.cues.len() || !was.cues.iter().zip(&is.cues).all(is_same) {
            found.note("subtitles", format!("{:?}, was {:?}", is.cues, was.cues));
        }
    }
}

/// Of the tracks of sound. Where no track is the default, players take the first, and MP4 cannot but say so.
fn dispositions(look: &Look) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = look.sounds.iter().map(|sound| sound.tags.dispositions.clone()).collect();
    let is_default = |name: &String| name == "default";
    if let (false, Some(first)) = (all.iter().flatten().any(is_default), all.first_mut()) {
        first.insert(0, "default".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::look::{Chapter, Subtitle, Tags};

    const FILM: (i64, i64) = (1, 24_000);
    const SAMPLES: (i64, i64) = (1, 48_000);

    fn clip() -> Look {
        let packets = (0..5).map(|n| (format!("p{n}"), Time { ticks: n * 1024 - 1024, base: SAMPLES }));
        Look {
            times: (0..4).map(|n| Time { ticks: n * 1001, base: FILM }).collect(),
            frames: (0..4).map(|n| format!("f{n}")).collect(),
            end: Some(4.0 * 1001.0 / 24_000.0),
            sounds: vec![Sound { codec: "aac".into(), tags: Tags::default(), packets: packets.collect(), heard: 0.0 }],
            subtitles: vec![Subtitle {
                tags: Tags::default(),
                cues: vec![Cue { from: 40, to: 80, text: "Hello".into() }],
            }],
            chapters: vec![Chapter { from: 0, to: 1000, title: "One".into() }],
            covers: vec!["c".into()],
            ..Look::default()
        }
    }

    fn check(terms: Terms, change: impl FnOnce(&mut Look), expected: &[&str]) {
        let mut output = clip();
        change(&mut output);
        let found: Vec<&str> = compare(&clip(), &output, terms).iter().map(|finding| finding.what).collect();
        assert_eq!(found, expected);
    }

    const LOSSLESS: Terms = Terms { lossless: true, untimed: None, moved: false, rounds_times: false };

    #[test]
    fn the_same_is_the_same_also_in_other_ticks() {
        check(LOSSLESS, |_| {}, &[]);
        let finer = |output: &mut Look| {
            output.times.iter_mut().for_each(|t| *t = Time { ticks: t.ticks * 5, base: (1, 120_000) });
        };
        check(LOSSLESS, finer, &[]);
    }

    #[test]
    fn a_tick_is_seen() {
        check(LOSSLESS, |output| output.times[2].ticks += 1, &["times"]);
        let rounds = Terms { rounds_times: true, ..LOSSLESS };
        let to_milliseconds = |output: &mut Look| {
            let round = |t: &Time| Time { ticks: (t.seconds() * 1000.0).round() as i64, base: (1, 1000) };
            output.times.iter_mut().for_each(|t| *t = round(t));
        };
        check(rounds, to_milliseconds, &[]);
        check(LOSSLESS, to_milliseconds, &["times"]);
        let two_off = |output: &mut Look| {
            to_milliseconds(output);
            output.times[3].ticks += 2;
        };
        check(rounds, two_off, &["times"]);
    }

    #[test]
    fn a_shift_is_seen_unless_it_is_meant() {
        let shift = |output: &mut Look| {
            output.times.iter_mut().for_each(|t| t.ticks += 2400);
            output.sounds[0].packets.iter_mut().for_each(|p| p.1.ticks += 4800);
            output.end = output.end.map(|end| end + 0.1);
            output.subtitles[0].cues[0] = Cue { from: 141, to: 180, text: "Hello".into() };
        };
        check(LOSSLESS, shift, &["start"]);
        check(Terms { moved: true, ..LOSSLESS }, shift, &[]);
        check(
            LOSSLESS,
            |output| output.sounds[0].packets.iter_mut().for_each(|p| p.1.ticks += 49),
            &["sync", "sound-times"],
        );
        check(LOSSLESS, |output| output.sounds[0].packets[3].1.ticks += 3, &["sound-times"]);
        check(LOSSLESS, |output| output.end = Some(0.3), &["length"]);
    }

    #[test]
    fn frames_count_where_nothing_may_be_lost() {
        let other = |output: &mut Look| output.frames[1] = "x".into();
        check(LOSSLESS, other, &["frames"]);
        check(Terms::default(), other, &[]);
        let fewer = |output: &mut Look| drop((output.frames.pop(), output.times.pop()));
        check(LOSSLESS, fewer, &["count", "frames"]);
    }

    #[test]
    fn everything_else_is_seen_too() {
        check(LOSSLESS, |output| output.picture.rotation = 90, &["rotation"]);
        check(LOSSLESS, |output| output.picture.transfer = "bt709".into(), &["colour"]);
        check(LOSSLESS, |output| output.picture.light = vec![1000.0, 400.0], &["light"]);
        check(LOSSLESS, |output| output.picture.fields = "t".into(), &["fields"]);
        check(LOSSLESS, |output| output.sounds.clear(), &["sound", "languages", "dispositions"]);
        check(LOSSLESS, |output| drop(output.sounds[0].packets.pop()), &["sound"]);
        check(LOSSLESS, |output| output.sounds[0].tags.language = "fra".into(), &["languages"]);
        check(LOSSLESS, |output| output.subtitles.clear(), &["subtitles"]);
        check(LOSSLESS, |output| output.subtitles[0].cues[0].to += 2, &["subtitles"]);
        let converted = |heard: f64| {
            move |output: &mut Look| {
                output.sounds[0].codec = "mp3".into();
                output.sounds[0].heard = heard;
            }
        };
        check(LOSSLESS, converted(0.0009), &["sound"]);
        check(LOSSLESS, converted(0.0011), &["sound", "sync"]);
        check(LOSSLESS, |output| output.chapters.clear(), &["chapters"]);
        check(LOSSLESS, |output| output.covers.clear(), &["cover"]);
        check(LOSSLESS, |output| output.complaints = "error while decoding".into(), &["decoding"]);
    }
}
