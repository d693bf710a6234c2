//! Makes clips, runs them through the path, asks ffmpeg what came out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contract::{Clip, Cut, Keep};
use crate::marks::Marks;
use crate::media::{
    ChunkEncoder, ChunkFile, Container, EncodeSettings, JoinRequest, Joined, Limits, MediaError, Probe, SliceDecoder,
    Timing, container_of, join, probe, slice,
};

/// Runs a program and returns what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error} (deploy/setup/debian.sh build installs it)"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes `name` in `dir`; `arguments` are ffmpeg's, separated by spaces, `{dir}` stands for the folder.
pub fn make(dir: &Path, name: &str, arguments: &str) -> PathBuf {
    crate::media::init();
    let path = dir.join(name);
    let arguments = arguments.replace("{dir}", dir.to_str().unwrap());
    let mut all = vec!["-v", "error", "-y", "-threads", "1"];
    all.extend(arguments.split_whitespace());
    all.push(path.to_str().unwrap());
    run("ffmpeg", &all);
    path
}

/// How a clip goes through the path.
pub struct Trip {
    /// Frames per chunk, at most. Cuts fall wherever this puts them, on keyframes or not.
    pub chunk: usize,
    /// GOPs to decode before the one that a chunk begins in.
    pub gops_before: usize,
    pub keep: Keep,
    pub settings: EncodeSettings,
    /// Bytes of rubbish behind each chunk's payload.
    pub footer: usize,
    pub limits: Limits,
}

impl Default for Trip {
    fn default() -> Self {
        Self {
            chunk: 16,
            gops_before: 0,
            keep: Keep::default(),
            settings: lossless(1),
            footer: 0,
            limits: Limits::default(),
        }
    }
}

pub fn lossless(threads: usize) -> EncodeSettings {
    EncodeSettings { encoder: "libx264".to_owned(), preset: "ultrafast".to_owned(), crf: 0, hdr: None, threads }
}

/// Chunks of `size` frames, each with the packets from its last keyframe on.
pub fn plan(probe: &Probe, trip: &Trip) -> Vec<Cut> {
    let (pts, packets) = (&probe.clip.pts, &probe.packets);
    let starts = (0..pts.len()).step_by(trip.chunk);
    let cut = |start: usize| {
        let end = (start + trip.chunk).min(pts.len());
        let (first_pts, last_pts) = (pts[start], pts[end - 1]);
        let keys: Vec<usize> = (0..packets.len()).filter(|&k| packets[k].key && packets[k].pts <= first_pts).collect();
        let first = keys[keys.len().saturating_sub(1 + trip.gops_before)];
        let wanted = |k: &usize| !packets[*k].hidden && (first_pts..=last_pts).contains(&packets[*k].pts);
        let last = (first..packets.len()).filter(wanted).max().unwrap();
        let base_pts = packets[first..=last].iter().map(|packet| packet.pts).min().unwrap();
        let (start, end) = (start as u64, end as u64);
        let (first_packet, last_packet) = (first as u64, last as u64);
        Cut { start, end, lo: start, hi: end, first_packet, last_packet, base_pts }
    };
    starts.map(cut).collect()
}

/// Decodes and encodes one chunk.
pub fn encode_chunk(clip: &Clip, cut: &Cut, slice: &Path, trip: &Trip) -> Result<ChunkFile, MediaError> {
    let path = slice.with_extension("chunk");
    let wanted = &clip.pts[cut.start as usize..cut.end as usize];
    let timing = Timing { time_base: clip.time_base, frame_rate: clip.frame_rate };
    let mut decoder = SliceDecoder::open(slice, trip.settings.threads)?;
    decoder.skip_before(wanted[0] - cut.base_pts);
    let mut encoder = None;
    let mut found = Vec::new();
    while let Some(frame) = decoder.next()? {
        let pts = frame.pts() + cut.base_pts;
        if wanted.binary_search(&pts).is_err() {
            continue;
        }
        let frame = frame.pictured(&trip.settings.encoder);
        let encoder = match &mut encoder {
            Some(encoder) => encoder,
            None => encoder.insert(ChunkEncoder::create(&path, &trip.settings, timing, &frame)?),
        };
        encoder.push(&frame, pts - wanted[0])?;
        found.push(pts);
    }
    assert_eq!(found, wanted, "times of the frames of {cut:?}");
    let encoded = encoder.unwrap().finish()?;
    assert_eq!(encoded.frames, cut.end - cut.start);
    let payload = path.metadata().unwrap().len();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(bytes.len() + trip.footer, b'N'); // NUT's start codes begin with this letter
    std::fs::write(&path, bytes).unwrap();
    Ok(ChunkFile { path, payload, reorder_depth: encoded.reorder_depth, start: cut.start, end: cut.end })
}

/// Cuts a clip and encodes its chunks.
pub fn chunks(source: &Path, dir: &Path, trip: &Trip) -> Result<(Clip, Vec<ChunkFile>), MediaError> {
    let probe = probe(source, &trip.keep, &trip.limits)?;
    let cuts = plan(&probe, trip);
    let mut slices = vec![PathBuf::new(); cuts.len()];
    slice(source, &probe.clip, &cuts, dir, &mut |index, path| {
        slices[index] = path.to_owned();
        Ok(())
    })?;
    let encode = |(cut, slice): (&Cut, &PathBuf)| encode_chunk(&probe.clip, cut, slice, trip);
    let chunks = cuts.iter().zip(&slices).map(encode).collect::<Result<_, _>>()?;
    Ok((probe.clip, chunks))
}

/// Joins chunks into `output`.
pub fn join_all(
    source: &Path,
    clip: &Clip,
    chunks: &[ChunkFile],
    output: &Path,
    keep: &Keep,
) -> Result<Joined, MediaError> {
    join_marked(source, (clip, chunks), output, (keep, None))
}

/// Joins chunks into `output`, which then says something of itself.
pub fn join_marked(
    source: &Path,
    (clip, chunks): (&Clip, &[ChunkFile]),
    output: &Path,
    (keep, marks): (&Keep, Option<&Marks>),
) -> Result<Joined, MediaError> {
    join(JoinRequest {
        source,
        clip,
        chunks: &mut chunks.iter().cloned().map(Ok),
        reorder_depth: chunks.iter().map(|chunk| chunk.reorder_depth).max().unwrap_or(0),
        output,
        container: container_of(output).unwrap_or(Container::Mp4),
        trim_to_first_frame: keep.start.is_some(),
        trim_to_last_frame: keep.has_end(),
        marks,
        cancelled: &|| false,
        progress: &mut |_| {},
    })
}

/// The whole path. The output lies beside the source, with the extension given.
pub fn round_trip(source: &Path, extension: &str, trip: &Trip) -> (PathBuf, Joined) {
    let dir = tempfile::tempdir().unwrap();
    let (clip, chunks) = chunks(source, dir.path(), trip).unwrap_or_else(|error| panic!("{source:?}: {error}"));
    let output = source.with_extension(format!("out.{extension}"));
    let joined =
        join_all(source, &clip, &chunks, &output, &trip.keep).unwrap_or_else(|error| panic!("{source:?}: {error}"));
    assert_eq!(joined.packets, clip.frames());
    (output, joined)
}

/// MD5 of every shown frame, and what `filter` makes of them.
pub fn frame_hashes(path: &Path, filter: &str) -> Vec<String> {
    let path = path.to_str().unwrap();
    let arguments = ["-v", "error", "-noautorotate", "-i", path, "-map", "0:v:0", "-vsync", "passthrough"];
    let tail = ["-vf", filter, "-f", "framemd5", "-"];
    let printed = run("ffmpeg", &[&arguments[..], &tail].concat());
    let lines = printed.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// What ffprobe prints, one line per section: `section|key=value|…`.
pub fn ffprobe(path: &Path, arguments: &str) -> Vec<String> {
    let mut all = vec!["-v", "error", "-of", "compact"];
    all.extend(arguments.split_whitespace());
    all.push(path.to_str().unwrap());
    // Side data stands in the middle of its packet's line and breaks it, or has a line of its own.
    let printed = run("ffprobe", &all).replace("\n|", "|");
    let lines = printed.lines().filter(|line| !line.is_empty() && !line.starts_with("side_data|"));
    lines.map(str::to_owned).collect()
}

/// The value of `key` in a line of [`ffprobe`]'s.
pub fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let fields = line.split('|').filter_map(|field| field.split_once('='));
    fields.filter(|field| field.0 == key).map(|field| field.1).next().unwrap_or_else(|| panic!("no {key} in {line}"))
}

/// Seconds at which each frame is shown.
pub fn frame_times(path: &Path) -> Vec<f64> {
    let lines = ffprobe(path, "-select_streams v:0 -show_entries frame=best_effort_timestamp:stream=time_base");
    let base = time_base(&lines);
    let frames = lines.iter().filter(|line| line.starts_with("frame|"));
    frames.map(|line| value(line, "best_effort_timestamp").parse::<f64>().unwrap() * base).collect()
}

/// Size and hash, and time in seconds, of every packet of a stream; none if there is no such stream.
pub fn packets(path: &Path, stream: &str) -> Vec<(String, f64)> {
    let entries = "packet=pts,size,data_hash:stream=time_base -show_data_hash MD5";
    let lines = ffprobe(path, &format!("-select_streams {stream} -show_entries {entries}"));
    let packets = lines.iter().filter(|line| line.starts_with("packet|"));
    let parse = |line: &String| {
        let content = format!("{} {}", value(line, "size"), value(line, "data_hash"));
        (content, value(line, "pts").parse::<f64>().unwrap() * time_base(&lines))
    };
    packets.map(parse).collect()
}

/// From the section that describes the stream.
fn time_base(lines: &[String]) -> f64 {
    let line = lines.iter().find(|line| line.starts_with("stream|")).expect("the stream is there");
    let (num, den) = value(line, "time_base").split_once('/').unwrap();
    num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap()
}
