//! What goes in comes out: frames, times, audio packets, and what the container says.

use std::path::Path;

use super::clips::{Recipe, recipe, recipes};
use super::harness::{
    Trip, chunks, ffprobe, frame_hashes, frame_times, join_all, lossless, make, packets, plan, round_trip, run, value,
};
use crate::contract::Keep;
use crate::error::Classify as _;
use crate::frame::{Pixels as _, Planes, PlanesMut};
use crate::media::{ChunkProblem, EncodeSettings, Joined, Limits, MediaError, SliceDecoder, probe, slice};

/// A tick of 1/90000 s, beyond which nobody could tell times apart.
const TICK: f64 = 1.0 / 90_000.0;

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.1 * TICK)
}

/// What is in the output otherwise than in the source, or not at all.
fn changed(joined: &Joined) -> Vec<String> {
    joined.warnings.clone()
}

fn av1() -> EncodeSettings {
    EncodeSettings { encoder: "libsvtav1".to_owned(), preset: "ultrafast".to_owned(), crf: 30, hdr: None, threads: 2 }
}

fn contents(packets: &[(String, f64)]) -> Vec<&str> {
    packets.iter().map(|packet| packet.0.as_str()).collect()
}

fn times(packets: &[(String, f64)]) -> Vec<f64> {
    packets.iter().map(|packet| packet.1).collect()
}

fn compare(recipe: &Recipe, source: &Path, output: &Path) {
    let name = recipe.name;
    assert_eq!(frame_hashes(source, recipe.filter), frame_hashes(output, recipe.filter), "{name}: frames");
    let after = frame_times(output);
    let before = match recipe.is_untimed {
        // FFmpeg has the first frame wait for as long as the decoder holds it back.
        true => (0..after.len()).map(|frame| frame as f64 / 25.0 + after[0].min(0.04)).collect(),
        false => frame_times(source),
    };
    // Broadcasts are moved to 0; all else stays where it was.
    let shift = if name.ends_with(".ts") { before[0] - after[0] } else { 0.0 };
    let before: Vec<f64> = before.iter().map(|time| time - shift).collect();
    assert!(close(&before, &after), "{name}: frame times {before:?} became {after:?}");

    let (before, after) = (packets(source, "a:0"), packets(output, "a:0"));
    if !recipe.audio_rewritten {
        assert_eq!(contents(&before), contents(&after), "{name}: audio packets");
    }
    let before: Vec<f64> = times(&before).iter().map(|time| time - shift).collect();
    let after = times(&after);
    assert!(close(&before, &after), "{name}: audio times {before:?} became {after:?}");
}

#[test]
fn every_recipe_comes_out_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    for recipe in recipes() {
        let source = make(dir.path(), recipe.name, &recipe.arguments);
        let trip = Trip { gops_before: recipe.gops_before, footer: 100, ..Trip::default() };
        let (output, joined) = round_trip(&source, "mp4", &trip);
        compare(&recipe, &source, &output);
        assert_eq!(changed(&joined), [""; 0], "{}", recipe.name);
    }
}

#[test]
fn frames_at_one_time_are_shown_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(
        dir.path(),
        "twice.mkv",
        "-f lavfi -i testsrc2=s=64x64:r=25:d=1 -vf settb=1/25,setpts='floor(N/2)*2' -vsync passthrough -c:v libx264 -bf 0",
    );
    let (output, _) = round_trip(&source, "mp4", &Trip { chunk: 7, ..Trip::default() });
    assert_eq!(frame_hashes(&source, "null"), frame_hashes(&output, "null"));
    let expected: Vec<f64> = (0..25).map(|frame| f64::from(frame / 2) * 0.08 + f64::from(frame % 2) * 0.001).collect();
    assert!(close(&frame_times(&output), &expected), "{:?}", frame_times(&output));
}

#[test]
fn chunks_of_one_frame_and_of_the_whole_clip_come_out_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe("cfr.mp4");
    let source = make(dir.path(), recipe.name, &recipe.arguments);
    for (chunk, threads) in [(1, 1), (1000, 2)] {
        let trip = Trip { chunk, settings: lossless(threads), ..Trip::default() };
        let (output, _) = round_trip(&source, "mp4", &trip);
        compare(&recipe, &source, &output);
    }
}

#[test]
fn lossy_chunks_keep_b_frames_and_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe("cfr.mp4");
    let source = make(dir.path(), recipe.name, &recipe.arguments);
    let settings = |encoder: &str, preset: &str| EncodeSettings {
        encoder: encoder.to_owned(),
        preset: preset.to_owned(),
        crf: 20,
        hdr: None,
        threads: 2,
    };
    for (settings, codec) in [
        (settings("libx264", "veryfast"), "h264"),
        (settings("libx265", "ultrafast"), "hevc"),
        (settings("libsvtav1", "ultrafast"), "av1"),
    ] {
        let (output, _) = round_trip(&source, "mp4", &Trip { settings, ..Trip::default() });
        assert!(close(&frame_times(&source), &frame_times(&output)), "{codec}");
        assert_eq!(frame_hashes(&output, "null").len(), 75, "{codec}");
        let found = ffprobe(&output, "-select_streams v -show_entries stream=codec_name");
        assert_eq!(value(&found[0], "codec_name"), codec);
        let kinds = ffprobe(&output, "-select_streams v -show_entries frame=pict_type");
        // AV1 has other names for its frames, and hides those that it decodes early.
        assert!(codec == "av1" || kinds.iter().any(|line| value(line, "pict_type") == "B"), "{codec}: {kinds:?}");
    }
}

#[test]
fn the_container_says_the_same_about_the_pictures() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let keys = "-select_streams v:0 -show_entries stream=width,height,pix_fmt,color_range,color_space,color_transfer,\
                color_primaries,chroma_location,sample_aspect_ratio,field_order,avg_frame_rate,duration:\
                stream_side_data=rotation";
    for name in ["cfr.mp4", "ntsc.mp4", "rotated.mp4", "anamorphic.mp4", "interlaced.mp4", "full-range.mp4"] {
        let recipe = recipe(name);
        let source = make(dir.path(), name, &recipe.arguments);
        let (output, _) = round_trip(&source, "mp4", &Trip::default());
        assert_eq!(ffprobe(&source, keys), ffprobe(&output, keys), "{name}");
    }
}

#[test]
fn the_screen_that_a_clip_was_made_for_is_kept_in_stream_and_container() {
    let dir = tempfile::tempdir().unwrap();
    let screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)";
    // In the bit stream only, as cameras and encoders leave it.
    let source = make(
        dir.path(),
        "pq.mp4",
        &format!(
            "-f lavfi -i testsrc2=s=160x96:r=25:d=1 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 -color_primaries \
             bt2020 -color_trc smpte2084 -colorspace bt2020nc -x265-params \
             log-level=error:hdr10=1:master-display={screen}:max-cll=1000,400"
        ),
    );
    let probed = probe(&source, &Keep::default(), &Limits::default()).unwrap();
    let hdr = probed.clip.hdr.expect("it says so");
    assert_eq!(hdr.light, Some([1000, 400]));
    let entries = "-select_streams v:0 -read_intervals %+#1 -show_entries frame_side_data=side_data_type,red_x,green_y,max_luminance,\
                   max_content,max_average";
    let said = |path: &Path, entries: &str| {
        let all = ["-v", "error", "-of", "flat"].into_iter().chain(entries.split_whitespace());
        let printed = run("ffprobe", &all.chain([path.to_str().unwrap()]).collect::<Vec<_>>());
        let of_screen = |line: &&str| ["red_x", "green_y", "max_"].iter().any(|key| line.contains(key));
        let number = |text: &str| -> f64 {
            let (num, den) = text.split_once('/').unwrap_or((text, "1"));
            num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap()
        };
        printed
            .lines()
            .filter(of_screen)
            .map(|line| number(line.split_once('=').unwrap().1.trim_matches('"')))
            .collect::<Vec<f64>>()
    };
    let expected = said(&source, entries);
    assert_eq!(expected.len(), 5, "{expected:?}");
    let of_stream = "-select_streams v:0 -show_entries stream_side_data";
    for (encoder, preset) in [("libx264", "ultrafast"), ("libx265", "ultrafast"), ("libsvtav1", "ultrafast")] {
        let settings = EncodeSettings {
            encoder: encoder.to_owned(),
            preset: preset.to_owned(),
            crf: 20,
            hdr: probed.clip.hdr,
            threads: 1,
        };
        let (output, _) = round_trip(&source, "mp4", &Trip { settings, ..Trip::default() });
        // FFmpeg 5.1 writes it into H.264, and does not read it there. AV1 counts in other units.
        let same = |said: &[f64]| {
            said.len() == expected.len() && said.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-4 * b.max(0.1))
        };
        assert!(encoder == "libx264" || same(&said(&output, entries)), "{encoder}: {:?}", said(&output, entries));
        assert!(same(&said(&output, of_stream)), "{encoder}, in the container: {:?}", said(&output, of_stream));
    }
}

#[test]
fn a_film_keeps_its_languages_subtitles_and_chapters() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.srt"), "1\n00:00:01,000 --> 00:00:02,000\nHello\n").unwrap();
    let chapters = ";FFMETADATA1\ntitle=Tricky\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n\
                    [CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=3000\ntitle=Two\n";
    std::fs::write(dir.path().join("m.txt"), chapters).unwrap();
    let source = make(
        dir.path(),
        "film.mkv",
        "-f lavfi -i testsrc2=s=160x96:r=24000/1001:d=3 -f lavfi -i sine=f=440:r=48000:d=3 -f lavfi -i \
            sine=f=880:d=3 \
         -i {dir}/s.srt -i {dir}/m.txt -map 0 -map 1 -map 2 -map 3 -map_metadata 4 -c:v libx264 -preset veryfast \
         -pix_fmt yuv420p -g 36 -bf 3 -c:a:0 aac -c:a:1 libopus -c:s srt -metadata:s:a:0 language=eng \
         -metadata:s:a:1 language=fra",
    );
    let trip = Trip::default();
    let languages = "-select_streams a -show_entries stream=codec_name:stream_tags=language";
    let chapter_list = "-show_chapters -show_entries chapter=start_time,end_time:chapter_tags=title";

    let (mkv, joined) = round_trip(&source, "mkv", &trip);
    assert_eq!((joined.others.len(), changed(&joined)), (3, vec![]));
    assert_eq!(packets(&mkv, "s:0"), packets(&source, "s:0"));
    let (mp4, joined) = round_trip(&source, "mp4", &trip);
    assert_eq!(
        changed(&joined),
        ["stream 3 (subtitle, subrip): converted to mov_text, since the output cannot hold it"]
    );
    let text =
        |path: &Path| run("ffmpeg", &["-v", "error", "-i", path.to_str().unwrap(), "-map", "0:s:0", "-f", "srt", "-"]);
    assert!(text(&source).contains("Hello"));
    assert_eq!(text(&mp4), text(&source));
    let (back, joined) = round_trip(&mp4, "mkv", &trip);
    assert_eq!(
        changed(&joined),
        ["stream 3 (subtitle, mov_text): converted to subrip, since the output cannot hold it"]
    );
    assert_eq!(text(&back), text(&source));
    for output in [mkv, mp4] {
        assert_eq!(frame_hashes(&source, "null"), frame_hashes(&output, "null"), "{output:?}");
        assert!(close(&frame_times(&source), &frame_times(&output)), "{output:?}");
        assert_eq!(ffprobe(&source, languages), ffprobe(&output, languages), "{output:?}");
        assert_eq!(ffprobe(&source, chapter_list), ffprobe(&output, chapter_list), "{output:?}");
        // FFmpeg 5.1 writes Opus into Matroska 7 ms early, whoever uses it; its bytes are as they were.
        let is_matroska = output.extension().unwrap() == "mkv";
        for stream in ["a:0", "a:1"] {
            let (before, after) = (packets(&source, stream), packets(&output, stream));
            assert_eq!(contents(&before), contents(&after), "{output:?} {stream}");
            if !(is_matroska && stream == "a:1") {
                assert!(
                    close(&times(&before), &times(&after)),
                    "{output:?} {stream}: {:?} {:?}",
                    times(&before),
                    times(&after)
                );
            }
        }
        assert_eq!(ffprobe(&output, "-show_entries format_tags=title"), ["format|tag:title=Tricky"], "{output:?}");
    }
}

#[test]
fn cover_art_comes_along_where_the_container_has_a_place_for_it() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    make(dir.path(), "cover.png", "-f lavfi -i testsrc2=s=64x64:d=0.04 -frames:v 1");
    let source = make(
        dir.path(),
        "covered.mp4",
        "-i {dir}/cfr.mp4 -i {dir}/cover.png -map 0 -map 1 -c copy -disposition:v:1 attached_pic",
    );
    let entries = "-select_streams v:1 -show_data_hash MD5 -show_entries \
                   packet=size,data_hash:stream=codec_name,width:stream_disposition=attached_pic";
    for keep in [Keep::default(), Keep { start: "20".parse().ok(), ..Keep::default() }] {
        let (mp4, joined) = round_trip(&source, "mp4", &Trip { keep, ..Trip::default() });
        assert_eq!((joined.others.len(), changed(&joined)), (2, vec![]));
        assert_eq!(ffprobe(&mp4, entries), ffprobe(&source, entries));
    }
    let (mkv, joined) = round_trip(&source, "mkv", &Trip::default());
    assert_eq!(changed(&joined), [""; 0]);
    assert_eq!(ffprobe(&mkv, entries), ffprobe(&source, entries));
    let (mp4, _) = round_trip(&mkv, "mp4", &Trip::default());
    assert_eq!(ffprobe(&mp4, entries), ffprobe(&source, entries));
    let (_, joined) = round_trip(&source, "webm", &Trip { settings: av1(), ..Trip::default() });
    let expected = [
        "stream 1 (audio, aac): converted to opus, since the output cannot hold it",
        "stream 2 (video, png): webm cannot hold it",
    ];
    assert_eq!(changed(&joined), expected);
}

/// Sound that its output cannot hold is made anew, and lies where it lay: a click stays within a millisecond of its place.
#[test]
fn converted_sound_stays_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    // A click each second, after half a second.
    let click = "aevalsrc=exprs=0.8*gt(mod(t\\,1)\\,0.5)*lt(mod(t\\,1)\\,0.502):s=44100:d=4";
    let source = make(
        dir.path(),
        "pcm.mov",
        &format!(
            "-f lavfi -i testsrc2=s=160x96:r=25:d=4 -f lavfi -i {click} -c:v libx264 -preset veryfast -c:a pcm_s16le"
        ),
    );
    let clicks = |path: &Path, offset: usize| -> Vec<usize> {
        let heard = samples(path);
        let loud = |place: &usize| heard[*place].unsigned_abs() > 6000;
        let mut places: Vec<usize> = (offset..heard.len()).filter(loud).collect();
        places.dedup_by(|later, earlier| {
            *later - *earlier < 4800 && {
                *earlier = *later;
                true
            }
        });
        let begins = |end: &usize| (end - 480..=*end).find(loud).unwrap() - offset;
        places.iter().map(begins).collect()
    };
    let expected = clicks(&source, 0);
    assert_eq!(expected.len(), 4);
    for (extension, settings, codec) in [("mp4", lossless(1), "aac"), ("webm", av1(), "opus")] {
        let (output, joined) = round_trip(&source, extension, &Trip { settings, ..Trip::default() });
        let words = format!("stream 1 (audio, pcm_s16le): converted to {codec}, since the output cannot hold it");
        assert_eq!(changed(&joined), [words]);
        let found = clicks(&output, 0);
        let close = |(a, b): (&usize, &usize)| a.abs_diff(*b) <= 48;
        assert!(found.len() == 4 && found.iter().zip(&expected).all(close), "{extension}: {found:?}, not {expected:?}");
    }
    let keep = Keep { start: "1s".parse().ok(), ..Keep::default() };
    let (trimmed, _) = round_trip(&source, "mp4", &Trip { keep, ..Trip::default() });
    let found = clicks(&trimmed, 0);
    assert!(found.len() == 3 && found[0].abs_diff(expected[0]) <= 48, "{found:?}, not {expected:?}");
    // What MOV holds is left alone.
    let (copied, joined) = round_trip(&source, "mov", &Trip::default());
    assert_eq!((changed(&joined), samples(&copied) == samples(&source)), (vec![], true));
}

fn limit(frames: u64) -> Keep {
    Keep { limit: Some(frames), ..Keep::default() }
}

/// Decoded sound, one sample after the other.
fn samples(path: &Path) -> Vec<i16> {
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-map", "0:a:0", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"]);
    let decoded = ffmpeg.output().expect("ffmpeg is installed");
    assert!(decoded.status.success(), "{path:?}: {}", String::from_utf8_lossy(&decoded.stderr));
    decoded.stdout.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect()
}

#[test]
fn a_trimmed_clip_begins_with_its_first_frame_and_keeps_the_sound_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    // Sound that is nowhere the same.
    let source = make(
        dir.path(),
        "sweep.mp4",
        "-f lavfi -i testsrc2=s=160x96:r=25:d=4 -f lavfi -i aevalsrc=0.4*sin(2*PI*(200+300*t)*t):s=48000:d=4 -c:v libx264 \
         -preset veryfast -pix_fmt yuv420p -g 30 -bf 3 -c:a aac -b:a 128k",
    );
    let all = samples(&source);
    for (start, end, frames) in [("27", "80", 27..80), ("1.08s", "3.2s", 27..80), ("33", "34", 33..34)] {
        let keep = Keep { start: start.parse().ok(), end: end.parse().ok(), limit: None };
        for extension in ["mp4", "mkv"] {
            let (output, _) = round_trip(&source, extension, &Trip { keep, ..Trip::default() });
            assert_eq!(
                frame_hashes(&output, "null"),
                frame_hashes(&source, "null")[frames.clone()],
                "{extension} {start}"
            );
            let times = frame_times(&output);
            let shift = times[0]; // Matroska has no times before 0
            assert!(if extension == "mp4" { shift == 0.0 } else { shift < 0.05 }, "{times:?}");
            let expected: Vec<f64> = frames.clone().map(|frame| (frame - frames.start) as f64 * 0.04 + shift).collect();
            assert!(times.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.0011), "{extension}: {times:?}");
            if extension == "mp4" {
                let heard = samples(&output);
                let first = frames.start * 48_000 / 25;
                let wanted = &all[first..(frames.end * 48_000 / 25).min(first + heard.len())];
                // The last packet may hold less than it did.
                assert!(heard.len() + 1024 >= wanted.len(), "{} of {}", heard.len(), wanted.len());
                let length = heard.len().min(wanted.len()) - 1024.min(wanted.len() / 2);
                assert!(heard[..length] == wanted[..length], "{start}: the sound is not in its place");
            }
        }
    }
    let nothing = Keep { start: "100".parse().ok(), ..Keep::default() };
    let error = probe(&source, &nothing, &Limits::default()).unwrap_err();
    assert!(matches!(error, MediaError::NothingKept { frames: 100, .. }), "{error}");
}

#[test]
fn a_frame_limit_takes_the_audio_along() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let trip = Trip { keep: limit(40), ..Trip::default() };
    let (output, joined) = round_trip(&source, "mp4", &trip);
    assert_eq!((joined.packets, joined.seconds), (40, 1.6));
    assert_eq!(frame_hashes(&output, "null"), frame_hashes(&source, "null")[..40]);
    let expected: Vec<_> = packets(&source, "a:0").into_iter().filter(|packet| packet.1 < 1.6 - 0.1 * TICK).collect();
    assert_eq!(contents(&expected), contents(&packets(&output, "a:0")));
    // Longer than the clip: no limit at all.
    let probed = probe(&source, &limit(1000), &Limits::default()).unwrap();
    assert_eq!(probed.clip, probe(&source, &Keep::default(), &Limits::default()).unwrap().clip);
}

#[test]
fn the_same_packets_make_the_same_bytes_and_the_index_lies_in_front() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let made = |name: &str| {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let (clip, chunks) = chunks(&source, &dir, &Trip::default()).unwrap();
        let output = dir.join("out.mp4");
        join_all(&source, &clip, &chunks, &output, &Keep::default()).unwrap();
        let mut files: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
            .iter()
            .map(|file| (file.file_name().unwrap().to_owned(), std::fs::read(file).unwrap()))
            .collect::<Vec<_>>()
    };
    let (first, second) = (made("first"), made("second"));
    assert_eq!(first.len(), 2 * 5 + 1);
    for (a, b) in first.iter().zip(&second) {
        assert!(a == b, "{:?} differs", a.0);
    }
    let (_, output) = first.iter().find(|file| file.0 == "out.mp4").unwrap();
    let place = |name: &[u8]| output.windows(4).position(|window| window == name).unwrap();
    assert!(place(b"moov") < place(b"mdat"));
}

#[test]
fn many_chunks_in_one_gop_are_cut_in_several_passes() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe("one-gop.mp4");
    let source = make(dir.path(), recipe.name, &recipe.arguments);
    let probed = probe(&source, &Keep::default(), &Limits::default()).unwrap();
    let cuts = plan(&probed, &Trip { chunk: 1, ..Trip::default() });
    let mut done = Vec::new();
    slice(&source, &probed.clip, &cuts, dir.path(), &mut |index, path| {
        assert!(path.is_file());
        done.push(index);
        Ok(())
    })
    .unwrap();
    done.sort_unstable();
    assert_eq!(done, (0..75).collect::<Vec<_>>());
}

#[test]
fn a_callback_ends_the_slicing_with_its_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let probed = probe(&source, &Keep::default(), &Limits::default()).unwrap();
    let cuts = plan(&probed, &Trip::default());
    let mut calls = 0;
    let stopped = slice(&source, &probed.clip, &cuts, dir.path(), &mut |_, _| {
        calls += 1;
        Err(MediaError::Cancelled)
    });
    assert!(matches!(stopped, Err(MediaError::Cancelled)));
    assert_eq!(calls, 1);
}

#[test]
fn skipping_saves_frames_and_changes_none() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let probed = probe(&source, &Keep::default(), &Limits::default()).unwrap();
    let cuts = plan(&probed, &Trip { chunk: 75, ..Trip::default() });
    slice(&source, &probed.clip, &cuts, dir.path(), &mut |_, _| Ok(())).unwrap();
    let wanted_from = probed.clip.pts[50] - cuts[0].base_pts;
    let decode = |skip: bool| {
        let mut decoder = SliceDecoder::open(&dir.path().join("0-75.nut"), 2).unwrap();
        if skip {
            decoder.skip_before(wanted_from);
        }
        let (mut before, mut wanted) = (0, Vec::new());
        while let Some(frame) = decoder.next().unwrap() {
            match frame.pts() < wanted_from {
                true => before += 1,
                false => wanted.push((frame.pts(), checksum(&frame))),
            }
        }
        (before, wanted)
    };
    let (all, skipped) = (decode(false), decode(true));
    assert_eq!((all.0, all.1.len()), (50, 25));
    assert_eq!(all.1, skipped.1);
    assert!(skipped.0 < all.0, "{} frames before the wanted ones", skipped.0);
}

#[test]
fn decoders_and_encoders_move_between_threads() {
    fn check<T: Send>() {}
    check::<SliceDecoder>();
    check::<crate::media::ChunkEncoder>();
    check::<crate::media::Decoded>();
    check::<MediaError>();
}

#[test]
fn written_samples_are_the_frame_s_own() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let probed = probe(&source, &Keep::default(), &Limits::default()).unwrap();
    let cuts = plan(&probed, &Trip { chunk: 75, ..Trip::default() });
    slice(&source, &probed.clip, &cuts, dir.path(), &mut |_, _| Ok(())).unwrap();
    let hash = |edit: bool| {
        let mut decoder = SliceDecoder::open(&dir.path().join("0-75.nut"), 2).unwrap();
        let mut sums = Vec::new();
        while let Some(mut frame) = decoder.next().unwrap() {
            let before = checksum(&frame);
            if edit {
                let PlanesMut::U8(planes) = frame.view_mut().planes else { panic!("samples are bytes") };
                planes.into_iter().for_each(|mut plane| plane.row_mut(0).fill(0));
                assert_ne!(checksum(&frame), before);
            }
            sums.push(before);
        }
        sums
    };
    // The decoder still predicts from the frames that were written to: it must not see the change.
    assert_eq!(hash(true), hash(false));
}

fn checksum(frame: &crate::media::Decoded) -> u64 {
    let view = frame.view();
    assert_eq!((view.width(), view.height(), view.shift), (160, 96, (1, 1)));
    let Planes::U8(planes) = view.planes else { panic!("samples are bytes") };
    let rows = planes.iter().flat_map(|plane| (0..plane.height).map(|y| plane.row(y)));
    rows.flatten().fold(0, |sum: u64, &sample| sum.wrapping_mul(31).wrapping_add(sample.into()))
}

#[test]
fn chunks_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let trip = Trip { chunk: 30, ..Trip::default() };
    let (clip, good) = chunks(&source, dir.path(), &trip).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let slower = EncodeSettings { preset: "medium".to_owned(), crf: 20, ..lossless(1) };
    let (_, other) =
        chunks(&source, elsewhere.path(), &Trip { chunk: 30, settings: slower, ..Trip::default() }).unwrap();
    assert_eq!(other.len(), 3);

    let swapped = |index: usize, change: &dyn Fn(&mut crate::media::ChunkFile)| {
        let mut chunks = good.clone();
        change(&mut chunks[index]);
        chunks
    };
    let cases = [
        ("other preset", swapped(1, &|chunk| *chunk = other[1].clone()), (30, 60), "parameters"),
        (
            "another chunk's file",
            swapped(2, &|chunk| *chunk = crate::media::ChunkFile { start: 60, end: 75, ..good[0].clone() }),
            (60, 75),
            "times",
        ),
        ("a chunk missing", vec![good[0].clone(), good[2].clone()], (60, 75), "gap"),
        ("the last missing", good[..2].to_vec(), (75, 75), "gap"),
    ];
    for (name, chunks, place, expected) in cases {
        let found = join_all(&source, &clip, &chunks, &dir.path().join("bad.mp4"), &Keep::default());
        let Err(MediaError::Chunk { start, end, problem }) = &found else {
            panic!("{name}: {found:?}");
        };
        let kind = match problem {
            ChunkProblem::Parameters => "parameters",
            ChunkProblem::Times { .. } => "times",
            ChunkProblem::Gap { .. } => "gap",
            ChunkProblem::Packets { .. } => "packets",
            ChunkProblem::Depth { .. } => "depth",
            ChunkProblem::NotKey => "key",
        };
        assert_eq!((*start, *end, kind), (place.0, place.1, expected), "{name}: {}", found.as_ref().unwrap_err());
        assert_eq!(found.unwrap_err().kind(), crate::error::Kind::Poison);
    }

    // The last chunk's file in the place of a longer one: its packets are too few.
    let mut short = good.clone();
    short[1] = crate::media::ChunkFile { start: 30, end: 60, ..good[2].clone() };
    let found = join_all(&source, &clip, &short, &dir.path().join("bad.mp4"), &Keep::default());
    let expected = ChunkProblem::Packets { found: 15, expected: 30 };
    assert!(matches!(&found, Err(MediaError::Chunk { start: 30, problem, .. }) if *problem == expected), "{found:?}");
}
