#!/usr/bin/env bash
# Puts ONNX Runtime's shared library into the cache folder, where the program looks for it (src/config.rs).
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

version=1.31.1
case $(uname -s)-$(uname -m) in
Linux-x86_64) machine=x86_64 sha256=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3 ;;
Linux-aarch64) machine=aarch64 sha256=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467 ;;
*) fail onnxruntime "no library is pinned for $(uname -s) on $(uname -m); install ONNX Runtime $version and set FACEMILL_ONNXRUNTIME to its library" ;;
esac

library=$cache_dir/onnxruntime-$version/libonnxruntime.so
if is_file_with "$sha256" "$library"; then
    say onnxruntime "$library is there"
    exit
fi

say onnxruntime "fetching version $version for $machine (22 MB) into $library"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
download onnxruntime onnxruntime.txt "$folder" --python-version 3.12 --implementation cp --platform "manylinux_2_28_$machine"
extract onnxruntime "$(echo "$folder"/onnxruntime-*.whl)" "onnxruntime/capi/libonnxruntime.so.$version" "$sha256" "$library"
