#!/usr/bin/env bash
# Runs every test, installing first what the tests need (Debian packages, Python clients).
set -euo pipefail
cd "$(dirname "$0")"

need=()
for pair in memccapable:libmemcached-tools python3:python3 gcc:gcc; do
    command -v "${pair%%:*}" >/dev/null || need+=("${pair##*:}")
done
if ((${#need[@]})); then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -q
    $sudo apt-get install -y -q "${need[@]}"
fi

cargo test --workspace
