#!/usr/bin/env bash
# Brings a cargo-fuzz of a pinned version, built once into the cache folder, and prints where it is.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

version=0.13.2
root=$cache_dir/cargo-fuzz-$version
if [[ ! -x $root/bin/cargo-fuzz ]]; then
    say cargo-fuzz "building version $version into $root (a minute, once)" >&2
    # Without optimisation: it only starts other programs.
    cargo install cargo-fuzz --version "$version" --locked --debug --quiet --root "$root" >&2 ||
        fail cargo-fuzz "cargo could not install it; see its message above"
fi
echo "$root/bin/cargo-fuzz"
