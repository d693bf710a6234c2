#!/usr/bin/env bash
# Puts c2pa-python into the cache folder, from which tests import it as it is: another program than ours that reads Content Credentials.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

version=0.38.1
root=$cache_dir/c2pa-python-$version
if [[ -f $root/c2pa/__init__.py ]]; then
    say c2pa-python "$root is there"
    exit
fi

say c2pa-python "fetching version $version (16 MB) into $root"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
download c2pa-python c2pa.txt "$folder"
# The wheel was checked by its hash; put in place whole or not at all.
rm -rf "$root.part"
python3 -m zipfile -e "$(echo "$folder"/c2pa_python-*.whl)" "$root.part"
mv -T "$root.part" "$root"
