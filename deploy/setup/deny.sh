#!/usr/bin/env bash
# Checks the crate graph against deny.toml, with a cargo-deny of a pinned version that is built once into the cache folder.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

version=0.20.2
root=$cache_dir/cargo-deny-$version
if [[ ! -x $root/bin/cargo-deny ]]; then
    say cargo-deny "building version $version into $root (minutes, once)"
    # Without optimisation: it builds twice as fast and runs for a second.
    cargo install cargo-deny --version "$version" --locked --debug --quiet --root "$root" ||
        fail cargo-deny "cargo could not install it; see its message above"
fi

cd "$setup_dir/../.."
"$root/bin/cargo-deny" --locked check licenses bans sources

# Advisories come from a git repository; where it cannot be reached, say so and go on.
if timeout 30 "$root/bin/cargo-deny" --locked fetch db >/dev/null 2>&1; then
    "$root/bin/cargo-deny" --locked --offline check advisories
else
    say cargo-deny "the advisory database cannot be reached from here: advisories were NOT checked"
fi
