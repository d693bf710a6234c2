#!/usr/bin/env bash
# Fuzzes everything that parses (load-tests/fuzz), each target for so many seconds. Usage: fuzz.sh [SECONDS [TARGET…]]
# What is found lies in load-tests/fuzz/artifacts/<target>; `fuzz.sh 0 TARGET` builds, `cargo fuzz run` takes it from there.
# Built without sanitizers, so that stable Rust does: the code under test is safe Rust and FFmpeg, which is not instrumented.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

seconds=${1:-10}
targets=("${@:2}")
((${#targets[@]})) || targets=(records names plan container clip slice footer photo marks)
cargo_fuzz=$("$setup_dir/cargo-fuzz.sh")
crate=$(cd "$setup_dir/../../load-tests/fuzz" && pwd)
work=$crate/target/corpus
mkdir -p "$work"

# Clips as seeds, of every container and most codecs: a few kB each, made here and not committed.
seed() {
    [[ -s $work/clips/$1 ]] ||
        ffmpeg -nostdin -v error -y -f lavfi -i "testsrc2=s=64x48:r=10:d=0.8" -f lavfi -i sine=d=0.8 -threads 1 "${@:2}" "$work/clips/$1" ||
        fail fuzz "ffmpeg could not make $1"
}
mkdir -p "$work/clips" "$work/slices" "$work/photos"
x264=(-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 4 -bf 2)
seed a.mp4 "${x264[@]}" -c:a aac
seed fragmented.mp4 "${x264[@]}" -c:a aac -movflags +frag_keyframe+empty_moov
seed a.mkv "${x264[@]}" -c:a aac
seed a.ts "${x264[@]}" -c:a aac
seed hevc.mp4 -c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params log-level=error:keyint=4 -an
seed a.webm -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p -g 4 -an
seed a.avi -c:v mpeg4 -g 4 -bf 1 -c:a mp3
seed a.mpg -c:v mpeg2video -g 4 -bf 1 -c:a mp2
seed a.mov -c:v prores_ks -profile:v 0 -an
seed a.flv -c:v flv1 -an
cp -u "$crate"/../../src/media/tests/avif/*.avif "$work/clips/"
for clip in "$work"/clips/*.mp4; do
    [[ -s $work/slices/$(basename "$clip").nut ]] ||
        ffmpeg -nostdin -v error -y -i "$clip" -map 0:v -c copy -flags +bitexact -metadata picture="0 1 0 0 0 0 0 0" \
            -metadata tick=1/10240 "$work/slices/$(basename "$clip").nut" || true
done
for picture in png jpg; do
    [[ -s $work/photos/a.$picture ]] || ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=32x24 -frames:v 1 "$work/photos/a.$picture"
done

say fuzz "building (some minutes, once)"
"$cargo_fuzz" build --fuzz-dir "$crate" --sanitizer none "${targets[@]:0:$((${#targets[@]} == 1))}"
((seconds)) || exit 0
declare -A seeds=([clip]=clips [container]=clips [slice]=slices [photo]=photos [marks]=clips)
for target in "${targets[@]}"; do
    say fuzz "$target, $seconds s"
    mkdir -p "$work/$target" "$crate/artifacts/$target"
    committed=$crate/corpus/$target
    [[ -d $committed ]] || committed=
    # An input may take 20 s and 1 GB at most: what takes more is found, as a crash is.
    log=$work/$target.log
    "$cargo_fuzz" run --fuzz-dir "$crate" --sanitizer none "$target" "$work/$target" ${committed:+"$committed"} \
        ${seeds[$target]:+"$work/${seeds[$target]}"} -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=65536 \
        -verbosity=0 -print_final_stats=1 >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        fail fuzz "$target: see $crate/artifacts/$target"
    }
    grep -E 'stat::(number_of_executed_units|peak_rss_mb)' "$log"
done
