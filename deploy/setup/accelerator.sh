#!/usr/bin/env bash
# accelerator.sh openvino|cuda: puts an ONNX Runtime that can use more than the processor into the cache folder, with the libraries that it
# needs and that are free to fetch. The program takes it from there where such a provider is asked for (src/config.rs).
#   openvino  Intel's processors, GPUs and NPUs; 84 MB
#   cuda      NVIDIA's GPUs, with CUDA 13 and cuDNN 9; 1.5 GB. Needs NVIDIA's driver (580 or later). For tensorrt, libnvinfer.so.10 and
#             libnvonnxparser.so.10 must be where the system's loader finds them.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

variant=${1:-}
case $variant in
openvino) version=1.24.1 ;;
cuda) version=1.31.1 ;;
*) fail accelerator "found ${variant:-nothing} (expected openvino or cuda)" ;;
esac
[[ $(uname -s)-$(uname -m) == Linux-x86_64 ]] ||
    fail "$variant" "no library is pinned for $(uname -s) on $(uname -m); set FACEMILL_ONNXRUNTIME to an ONNX Runtime that was built with it"

requirements=onnxruntime-$variant.txt
target=$cache_dir/onnxruntime-$variant-$version
stamp=$(sha256sum <"$setup_dir/$requirements")
if [[ -f $target/.fetched && $(<"$target/.fetched") == "$stamp" ]]; then
    say "$variant" "$target is there"
    exit
fi

say "$variant" "fetching ONNX Runtime $version with what it needs into $target"
folder=$(mktemp -d -p "${TMPDIR:-/tmp}")
trap 'rm -rf "$folder"' EXIT
platforms=()
for glibc in manylinux_2_5 manylinux_2_12 manylinux_2_17 manylinux_2_27 manylinux_2_28; do platforms+=(--platform "${glibc}_x86_64"); done
download "$variant" "$requirements" "$folder" --python-version 3.12 --implementation cp --abi cp312 --abi none "${platforms[@]}"
rm -rf "$target"
mkdir -p "$target"
python3 - "$folder" "$target" <<'PYTHON' || fail "$variant" "the wheels could not be unpacked"
import pathlib, shutil, sys, zipfile
folder, target = map(pathlib.Path, sys.argv[1:])
for wheel in folder.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = pathlib.PurePosixPath(member).name
            # Libraries, not Python's extension modules.
            if ".so" in name and "cpython" not in name:
                with archive.open(member) as source, open(target / name, "wb") as out:
                    shutil.copyfileobj(source, out)
PYTHON
ln -s "libonnxruntime.so.$version" "$target/libonnxruntime.so"
echo "$stamp" >"$target/.fetched"
