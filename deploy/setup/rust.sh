#!/usr/bin/env bash
# Checks that a Rust toolchain is here and new enough; it is not installed for you.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$setup_dir/../../Cargo.toml")
command -v cargo >/dev/null || fail rust "cargo is not on the PATH; install Rust $needed or newer with rustup (https://rustup.rs)"
found=$(rustc --version | cut -d' ' -f2)
[[ $(printf '%s\n' "$needed" "$found" | sort -V | head -n1) == "$needed" ]] ||
    fail rust "rustc is $found, $needed or newer is needed; run: rustup update stable"
say rust "rustc $found is there"
