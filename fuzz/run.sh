#!/usr/bin/env bash
# fuzz/run.sh SECONDS [TARGET...]: fuzzes each target (all, unless named) for an equal share of
# SECONDS, from the committed corpus. Needs no tool beyond cargo and a C++ compiler. A crash stops
# the run and leaves its input in fuzz/artifacts/; the run keeps nothing else.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(step_any encode_decode resync batches tokio_adapter eof)
fi

# What cargo-fuzz sets, without its nightly-only sanitizer: there is no unsafe code to watch.
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
export CARGO_TARGET_DIR="$PWD/target"
cargo build --quiet --release --target "$triple" --bins

share=$((seconds / ${#targets[@]}))
for target in "${targets[@]}"; do
    echo "== $target, ${share} s"
    found=$(mktemp -d)
    trap 'rm -rf "$found"' EXIT
    mkdir -p "artifacts/$target"
    failed=no
    "target/$triple/release/$target" -max_total_time="$((share > 0 ? share : 1))" -max_len=2055 \
        -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="artifacts/$target/" \
        "$found" "corpus/$target" 2>&1 |
        { grep -E 'Done|stat::number_of|ERROR|SUMMARY|panicked|artifact' || true; } || failed=yes
    if [ "$failed" = yes ] || [ -n "$(ls -A "artifacts/$target")" ]; then
        echo "$target failed: fuzz/artifacts/$target/" >&2
        exit 1
    fi
    rm -rf "$found"
done
