#!/bin/sh
# Makes include/drywire.h; with --verify only says whether it is up to date (exit 1 if not).
set -eu
cd "$(dirname "$0")/.."
cbindgen=${CBINDGEN:-cbindgen}
want="cbindgen 0.29.4"
[ "$($cbindgen --version)" = "$want" ] || { echo "header.sh: needs $want (cargo install cbindgen --version 0.29.4 --locked)" >&2; exit 2; }
to=include/drywire.h
[ "${1-}" = --verify ] && to=$(mktemp)
log=$(mktemp)
trap 'rm -f "$log"; [ "$to" = include/drywire.h ] || rm -f "$to"' EXIT
$cbindgen --config ffi/cbindgen.toml --crate drywire-ffi --lockfile Cargo.lock --output "$to" ffi 2>"$log" || { cat "$log" >&2; exit 1; }
# Warnings do not fail cbindgen. Private constants are skipped on purpose; anything else is a defect.
if grep WARN "$log" | grep -v -e 'Skip .* - (not `pub`)' -e 'Skip .* - (not `no_mangle`)' >&2; then exit 1; fi
[ "$to" = include/drywire.h ] || diff -u include/drywire.h "$to"
