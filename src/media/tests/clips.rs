//! Recipes of clips that are hard to cut or to join, each of a few small seconds.

/// Names, and below each what ffmpeg is told. `{dir}` is the clips' folder, the rest is in [`expand`].
///
/// The first is copied from by others.
const RECIPES: &str = "
cfr.mp4
    {V} {A} {X264} -g 30 -bf 3 -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv
    {AAC} -movflags +faststart
ntsc.mp4
    -f lavfi -i testsrc2=s=160x96:r=30000/1001:d=3 {A} {X264} -g 250 -bf 4 -x264-params b-pyramid=normal {AAC}
vfr-dropped.mp4
    {V} {A} -vf select='not(eq(mod(n\\,7)\\,3)+gt(random(1)\\,0.7))' -vsync vfr {X264} -g 25 -bf 3 -c:a aac
vfr-jitter.mp4
    {V} {A} -vf settb=1/90000,setpts='N*3600+1500*sin(N*1.7)+random(2)*400' -vsync passthrough
    -enc_time_base 1/90000 -video_track_timescale 90000 {X264} -g 24 -bf 3 -c:a aac
open-gop.mp4
    {V} {A} {X264} -x264-params open-gop=1:keyint=20:min-keyint=10:bframes=4:b-pyramid=normal {AAC}
hevc-10-bit.mp4
    {V} {A} -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 -color_primaries bt2020
    -color_trc smpte2084 -colorspace bt2020nc -x265-params log-level=error:open-gop=1:keyint=24:bframes=4 {AAC}
4-2-2.mp4
    {V} {A} -c:v libx264 -preset veryfast -pix_fmt yuv422p -g 30 {AAC}
4-4-4.mp4
    {V} {A} -c:v libx264 -preset veryfast -pix_fmt yuv444p -g 30 {AAC}
rotated.mp4
    -i {dir}/cfr.mp4 -map 0 -c copy -metadata:s:v rotate=90
anamorphic.mp4
    -f lavfi -i testsrc2=s=176x144:r=25:d=2 {A} -vf setsar=64/45 {X264} -g 25 -bf 2 {AAC}
odd-vp9.webm
    -f lavfi -i testsrc2=s=107x61:r=25:d=2,format=rgb24 -f lavfi -i sine=d=2 -c:v libvpx-vp9 -deadline realtime
    -cpu-used 8 -pix_fmt yuv420p -g 32 -c:a libopus -shortest
interlaced.mp4
    -f lavfi -i testsrc2=s=176x144:r=50:d=2 {A} -vf interlace=scan=tff {X264} -flags +ildct+ilme
    -x264-params tff=1 -g 25 -bf 3 {AAC}
broadcast.ts
    -i {dir}/cfr.mp4 -map 0 -c copy -muxdelay 1.4
edit-list.mp4
    -ss 0.7 -i {dir}/cfr.mp4 -map 0 -c copy
audio-late.mp4
    -i {dir}/cfr.mp4 -itsoffset 0.5 -i {dir}/cfr.mp4 -map 0:v -map 1:a -c copy
video-late.mp4
    -itsoffset 0.7 -i {dir}/cfr.mp4 -i {dir}/cfr.mp4 -map 0:v -map 1:a -c copy
audio-first.mov
    -i {dir}/cfr.mp4 -map 0:a -map 0:v -c copy
intra-refresh.mp4
    {V} {A} {X264} -x264-params intra-refresh=1:keyint=25:bframes=0 {AAC}
one-frame.mp4
    -f lavfi -i testsrc2=s=160x96:r=25:d=0.04 {X264}
one-gop.mp4
    {V} {A} {X264} -g 9999 -keyint_min 9999 -sc_threshold 0 -bf 3 {AAC}
fragmented.mp4
    -i {dir}/cfr.mp4 -map 0 -c copy -movflags +frag_keyframe+empty_moov+default_base_moof
full-range.mp4
    {V} -vf scale=out_range=pc,format=yuv420p -c:v libx264 -preset veryfast -g 25 -color_range pc
    -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m
clock-wraps.ts
    -copyts -itsoffset 95442 -i {dir}/cfr.mp4 -map 0 -c copy -copyts -muxdelay 0
xvid.avi
    {V} {A} -c:v mpeg4 -vtag xvid -b:v 1M -g 25 -bf 2 -c:a libmp3lame -shortest
h264.avi
    {V} {A} {X264} -g 30 -x264-params bframes=3:b-pyramid=normal:open-gop=1 -c:a libmp3lame -shortest
mjpeg.avi
    {V} {A} -c:v mjpeg -pix_fmt yuvj422p -c:a libmp3lame -shortest
bare.h264
    {V} {X264} -g 30 -x264-params bframes=3:b-pyramid=normal
mpeg2.ts
    -f lavfi -i testsrc2=s=176x144:r=24000/1001:d=2 -c:v mpeg2video -b:v 2M -g 15 -bf 2
";

/// A clip and what is special about its way.
pub struct Recipe {
    pub name: &'static str,
    /// ffmpeg's.
    pub arguments: String,
    /// GOPs to decode before the chunk's own.
    pub gops_before: usize,
    /// Applied to both clips before their frames are compared.
    pub filter: &'static str,
    /// Its container has no presentation times: a frame is shown every 1/25 s.
    pub is_untimed: bool,
    /// FFmpeg's own bitstream filter rewrites audio packets (ADTS headers go), so their bytes differ.
    pub audio_rewritten: bool,
}

/// All, in an order in which they can be made.
pub fn recipes() -> Vec<Recipe> {
    let mut recipes: Vec<Recipe> = Vec::new();
    for line in RECIPES.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("    ") {
            None => recipes.push(Recipe {
                name: line,
                arguments: String::new(),
                gops_before: usize::from(line == "intra-refresh.mp4"),
                filter: if line == "odd-vp9.webm" { "crop=107:61:0:0:exact=1" } else { "null" },
                is_untimed: ["xvid.avi", "h264.avi", "bare.h264"].contains(&line),
                audio_rewritten: line.ends_with(".ts"),
            }),
            Some(arguments) => {
                let recipe = recipes.last_mut().expect("a name comes first");
                recipe.arguments += &expand(arguments);
            }
        }
    }
    recipes
}

/// The recipe of this name.
pub fn recipe(name: &str) -> Recipe {
    recipes().into_iter().find(|recipe| recipe.name == name).expect("there is such a recipe")
}

fn expand(arguments: &str) -> String {
    let expanded = arguments
        .replace("{V}", "-f lavfi -i testsrc2=s=160x96:r=25:d=3")
        .replace("{A}", "-f lavfi -i sine=f=440:r=48000:d=3")
        .replace("{X264}", "-c:v libx264 -preset veryfast -pix_fmt yuv420p")
        .replace("{AAC}", "-c:a aac -shortest");
    expanded + " "
}
