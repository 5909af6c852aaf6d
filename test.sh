#!/usr/bin/env bash
# Runs every test. Installs first what the tests need: Debian packages, Python clients.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

step "Rust: unit, property, socket and documentation tests"
cargo test --workspace

step "real clients against a running drywire serve"
cargo build --package drywire-cli
drywire="${CARGO_TARGET_DIR:-target}/debug/drywire"
log=$(mktemp)
"$drywire" serve --listen 127.0.0.1:0 2>"$log" >"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
    address=$(grep -om1 '127\.0\.0\.1:[0-9]*' "$log" || true)
    [ -z "$address" ] || break
    sleep 0.1
done
[ -n "$address" ] || { cat "$log"; echo "drywire serve did not start"; exit 1; }
tests/clients/run.sh "$address"
kill -TERM "$server"
wait "$server"
