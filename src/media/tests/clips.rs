//! Recipes of clips that are hard to cut or to join, each in a few small seconds.

/// 25 frames/s, 160x96, with motion.
const V: &str = "-f lavfi -i testsrc2=s=160x96:r=25:d=3";
/// A tone, stereo as little as possible.
const A: &str = "-f lavfi -i sine=f=440:r=48000:d=3";
const X264: &str = "-c:v libx264 -preset veryfast -pix_fmt yuv420p";
const AAC: &str = "-c:a aac -shortest";

/// A clip and what is special about its way.
pub struct Recipe {
    pub name: &'static str,
    pub arguments: String,
    /// GOPs to decode before the chunk's own.
    pub gops_before: usize,
    /// Applied to both clips before their frames are compared.
    pub filter: &'static str,
    /// Audio packets are rewritten by FFmpeg's own bitstream filter (ADTS headers go), so their bytes differ.
    pub audio_rewritten: bool,
}

impl Recipe {
    fn new(name: &'static str, arguments: String) -> Self {
        Self { name, arguments, gops_before: 0, filter: "null", audio_rewritten: false }
    }
}

/// The recipe that others copy from; made first, as `cfr.mp4`.
pub fn cfr() -> Recipe {
    Recipe::new("cfr.mp4", format!("{V} {A} {X264} -g 30 -bf 3 -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv {AAC} -movflags +faststart"))
}

/// All others.
pub fn recipes() -> Vec<Recipe> {
    let plain = |name, arguments| Recipe::new(name, arguments);
    vec![
        cfr(),
        plain("ntsc.mp4", format!("-f lavfi -i testsrc2=s=160x96:r=30000/1001:d=3 {A} {X264} -g 250 -bf 4 -x264-params b-pyramid=normal {AAC}")),
        plain("vfr-dropped.mp4", format!("{V} {A} -vf select='not(eq(mod(n\\,7)\\,3)+gt(random(1)\\,0.7))' -vsync vfr {X264} -g 25 -bf 3 -c:a aac")),
        plain("vfr-jitter.mp4", format!("{V} {A} -vf settb=1/90000,setpts='N*3600+1500*sin(N*1.7)+random(2)*400' -vsync passthrough -enc_time_base 1/90000 -video_track_timescale 90000 {X264} -g 24 -bf 3 -c:a aac")),
        plain("open-gop.mp4", format!("{V} {A} {X264} -x264-params open-gop=1:keyint=20:min-keyint=10:bframes=4:b-pyramid=normal {AAC}")),
        plain("hevc-10-bit.mp4", format!("{V} {A} -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 -x265-params log-level=error:open-gop=1:keyint=24:bframes=4:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc {AAC}")),
        plain("4-2-2.mp4", format!("{V} {A} -c:v libx264 -preset veryfast -pix_fmt yuv422p -g 30 {AAC}")),
        plain("4-4-4.mp4", format!("{V} {A} -c:v libx264 -preset veryfast -pix_fmt yuv444p -g 30 {AAC}")),
        plain("rotated.mp4", "-i {dir}/cfr.mp4 -map 0 -c copy -metadata:s:v rotate=90".to_owned()),
        plain("anamorphic.mp4", format!("-f lavfi -i testsrc2=s=176x144:r=25:d=2 {A} -vf setsar=64/45 {X264} -g 25 -bf 2 {AAC}")),
        Recipe { filter: "crop=107:61:0:0:exact=1", ..plain("odd-vp9.webm", "-f lavfi -i testsrc2=s=107x61:r=25:d=2,format=rgb24 -f lavfi -i sine=d=2 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p -g 32 -c:a libopus -shortest".to_owned()) },
        plain("interlaced.mp4", format!("-f lavfi -i testsrc2=s=176x144:r=50:d=2 {A} -vf interlace=scan=tff {X264} -flags +ildct+ilme -x264-params tff=1 -g 25 -bf 3 {AAC}")),
        Recipe { audio_rewritten: true, ..plain("broadcast.ts", "-i {dir}/cfr.mp4 -map 0 -c copy -muxdelay 1.4".to_owned()) },
        plain("edit-list.mp4", "-ss 0.7 -i {dir}/cfr.mp4 -map 0 -c copy".to_owned()),
        plain("audio-late.mp4", "-i {dir}/cfr.mp4 -itsoffset 0.5 -i {dir}/cfr.mp4 -map 0:v -map 1:a -c copy".to_owned()),
        plain("video-late.mp4", "-itsoffset 0.7 -i {dir}/cfr.mp4 -i {dir}/cfr.mp4 -map 0:v -map 1:a -c copy".to_owned()),
        plain("audio-first.mov", "-i {dir}/cfr.mp4 -map 0:a -map 0:v -c copy".to_owned()),
        Recipe { gops_before: 1, ..plain("intra-refresh.mp4", format!("{V} {A} {X264} -x264-params intra-refresh=1:keyint=25:bframes=0 {AAC}")) },
        plain("one-frame.mp4", format!("-f lavfi -i testsrc2=s=160x96:r=25:d=0.04 {X264}")),
        plain("one-gop.mp4", format!("{V} {A} {X264} -g 9999 -keyint_min 9999 -sc_threshold 0 -bf 3 {AAC}")),
        plain("fragmented.mp4", "-i {dir}/cfr.mp4 -map 0 -c copy -movflags +frag_keyframe+empty_moov+default_base_moof".to_owned()),
        plain("full-range.mp4", format!("{V} -vf scale=out_range=pc,format=yuv420p -c:v libx264 -preset veryfast -g 25 -color_range pc -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m")),
        Recipe { audio_rewritten: true, ..plain("clock-wraps.ts", "-copyts -itsoffset 95442 -i {dir}/cfr.mp4 -map 0 -c copy -copyts -muxdelay 0".to_owned()) },
        plain("mpeg2.ts", "-f lavfi -i testsrc2=s=176x144:r=24000/1001:d=2 -c:v mpeg2video -b:v 2M -g 15 -bf 2".to_owned()),
    ]
}
