#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that are missing. Usage: debian.sh build|kafka|browser…
#   build    what the demo and the tests need
#   kafka    Java and Maven, for a local Apache Kafka (deploy/kafka)
#   browser  Chromium, to play outputs in
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

# Each need: how it is seen to be there, and the package that brings it.
declare -A needs=(
    [build]="command:cc=gcc command:c++=g++ command:make=make command:pkg-config=pkg-config command:python3=python3
        command:ffmpeg=ffmpeg command:exiftool=libimage-exiftool-perl command:openssl=openssl pip:=python3-pip libclang:=libclang-dev
        library:libavcodec=libavcodec-dev library:libavfilter=libavfilter-dev library:libavformat=libavformat-dev
        library:libavutil=libavutil-dev library:libssl=libssl-dev library:libzstd=libzstd-dev library:zlib=zlib1g-dev"
    [kafka]="command:java=default-jre-headless command:mvn=maven"
    [browser]="command:chromium=chromium"
)

is_there() {
    local kind=${1%%:*} name=${1#*:}
    case $kind in
    command) command -v "$name" >/dev/null ;;
    library) pkg-config --exists "$name" 2>/dev/null ;;
    pip) python3 -m pip --version >/dev/null 2>&1 ;;
    # bindgen looks where LIBCLANG_PATH says and in these folders; libclang-cpp is another library.
    libclang) [[ -n ${LIBCLANG_PATH:-} ]] || compgen -G '/usr/lib/llvm-*/lib/libclang[-.][!c]*' >/dev/null || compgen -G '/usr/lib*/libclang[-.][!c]*' >/dev/null ;;
    esac
}

missing=()
for group in "$@"; do
    for need in ${needs[$group]:?"usage: debian.sh build|kafka|browser…"}; do
        is_there "${need%=*}" || missing+=("${need#*=}")
    done
done
if ((${#missing[@]} == 0)); then
    say packages "all there ($*)"
    exit
fi

command -v apt-get >/dev/null ||
    fail packages "this is neither Debian nor Ubuntu; install what matches these Debian packages and run this again: ${missing[*]}"
as_root=()
if ((EUID != 0)); then
    command -v sudo >/dev/null ||
        fail packages "not root and no sudo; run as root: apt-get update && apt-get install ${missing[*]}"
    as_root=(sudo)
fi
say packages "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq || fail packages "apt-get update did not work; see its message above"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail packages "apt-get could not install them; see its message above"
