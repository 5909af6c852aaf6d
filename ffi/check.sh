#!/bin/bash
# Proves the C interface (the list of tests in docs/c-api.md). Installs what it needs from Debian and
# PyPI, cbindgen from crates.io, and a nightly compiler for the sanitizers.
#
#   ffi/check.sh            everything, about ten minutes
#   ffi/check.sh STEP...    some steps: header symbols layout abi misuse panic replay nomem threads docs
#                           programs install cost asan tsan miri fuzz python go
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
work=$CARGO_TARGET_DIR/ffi-check
bin=$work/bin
mkdir -p "$bin" "$work/gen"
check=$root/ffi/check
strict="-Wall -Wextra -Wpedantic -Wundef -Wconversion -Werror"
private="-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc"
debug=$CARGO_TARGET_DIR/debug/libdrywire_ffi.a
release=$CARGO_TARGET_DIR/release

fail() { echo "check.sh: $*" >&2; exit 1; }
note() { echo "  $*"; }

tools() {
    local missing=()
    for pair in gcc:gcc g++:g++ clang:clang valgrind:valgrind cmake:cmake pkg-config:pkg-config \
        memccapable:libmemcached-tools python3:python3 doxygen:doxygen abidiff:abigail-tools; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ]; then
        local sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
        $sudo apt-get update -qq
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "${missing[@]}" >/dev/null
    fi
    : "${CBINDGEN:=$CARGO_TARGET_DIR/tools/bin/cbindgen}"
    if ! "$CBINDGEN" --version 2>/dev/null | grep -q ' 0\.29\.4$'; then
        cargo install --quiet --locked cbindgen --version 0.29.4 --root "$CARGO_TARGET_DIR/tools"
        CBINDGEN=$CARGO_TARGET_DIR/tools/bin/cbindgen
    fi
    export CBINDGEN
    cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal >/dev/null
}

# Built once each, by the step that needs it first.
built() { [ -n "${done_[$1]:-}" ] || { done_[$1]=1; "build_$1"; }; }
declare -A done_
build_debug() { cargo build --quiet -p drywire-ffi; }
build_release() { cargo build --quiet --release -p drywire-ffi --lib --examples; }
build_hooks() {
    cargo build --quiet -p drywire-ffi --features test-hooks
    cp "$debug" "$work/libhooks.a"
    cargo build --quiet -p drywire-ffi
    done_[debug]=1
}
build_asan() {
    RUSTFLAGS="-Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares" \
        cargo +nightly build --quiet -p drywire-ffi --lib --target x86_64-unknown-linux-gnu
    asan=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/debug/libdrywire_ffi.a
}

# The header alone, first, in every dialect; two files of one program; 32 bits; the C++ wrapper.
step_header() {
    ffi/header.sh --verify || fail "include/drywire.h is not what ffi/header.sh makes"
    printf '#include "drywire.h"\nint one(void);\nint one(void) { return drywire_deadline_ms(1, 0); }\n' > "$work/one.c"
    printf '#include <drywire.h>\nint one(void);\nint main(void) { return one() == 1 && drywire_deadline_ms(2000001, 0) == 3 && drywire_deadline_ms(0, 5) == 0 && drywire_deadline_ms(DRYWIRE_NO_DEADLINE, 0) == -1 ? 0 : 1; }\n' > "$work/two.c"
    sed 's/int one(void);/extern "C" int one();/; s/(void)/()/g' "$work/two.c" > "$work/two.cpp"
    local n=0
    for cc in gcc clang; do
        for std in c99 c11 c17 c2x; do
            $cc -std=$std $strict -Wstrict-prototypes -Wc++-compat -Iinclude "$work/one.c" "$work/two.c" -o "$bin/two"
            "$bin/two"; n=$((n + 1))
        done
        clang --target=i686-linux-gnu -ffreestanding -std=c99 $strict -Iinclude -fsyntax-only "$work/one.c"
    done
    $cc -std=c11 $strict -Iinclude -c "$work/one.c" -o "$work/one.o"
    for cc in g++ clang++; do
        for std in c++11 c++17 c++20; do
            $cc -std=$std $strict -Iinclude "$work/two.cpp" "$work/one.o" -o "$bin/two"
            "$bin/two"; n=$((n + 1))
        done
    done
    built debug
    for cc in g++ clang++; do
        for std in c++17 c++20; do
            $cc -std=$std $strict -Wshadow -fno-exceptions -fno-rtti -Iinclude bindings/cpp/test.cpp "$debug" $private -o "$bin/hpp"
            "$bin/hpp" >/dev/null; n=$((n + 1))
        done
    done
    g++ -std=c++23 $strict -Wshadow -Iinclude bindings/cpp/test.cpp "$debug" $private -o "$bin/hpp" && "$bin/hpp" >/dev/null
    note "the header is current and compiles in $((n + 2)) settings; drywire.hpp passes its tests in 5"
}

# Declared = exported = committed; the library's name, flags and needs.
step_symbols() {
    built release
    python3 "$check/generate.py" symbols > "$work/declared"
    nm -D --defined-only "$release/libdrywire_ffi.so" | awk '{print $3}' | sort > "$work/exported"
    diff "$work/declared" "$work/exported" || fail "declared and exported symbols differ"
    diff ffi/symbols.txt "$work/declared" || fail "ffi/symbols.txt is not what is declared"
    grep -v '^drywire_' "$work/declared" && fail "a symbol without the prefix"
    readelf -d "$release/libdrywire_ffi.so" > "$work/dynamic"
    grep -q 'SONAME.*\[libdrywire\.so\.0\.1\]' "$work/dynamic" || fail "SONAME"
    grep -q 'NODELETE' "$work/dynamic" || fail "NODELETE"
    local needed; needed=$(sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' "$work/dynamic" | sort | tr '\n' ' ')
    [ "$needed" = "ld-linux-x86-64.so.2 libc.so.6 libgcc_s.so.1 " ] || fail "needs $needed"
    # Printed only when something is compiled: a setting of its own each time.
    cargo rustc --quiet -p drywire-ffi --lib --crate-type staticlib -- --print native-static-libs \
        --cfg "asked_$$" 2>&1 |
        sed -n 's/.*native-static-libs: //p' > "$work/native"
    [ "$(cat "$work/native")" = "$private" ] || fail "static libraries: rustc says '$(cat "$work/native")'"
    grep -qF -- "PRIVATE_LIBS := $private" Makefile || fail "PRIVATE_LIBS in the Makefile"
    note "$(wc -l < "$work/declared") symbols declared, exported and committed; SONAME, NODELETE, NEEDED, static libraries"
}

step_layout() {
    python3 "$check/generate.py" layout > "$work/gen/layout.c"
    for cc in gcc clang; do
        $cc -Iinclude "$work/gen/layout.c" -o "$bin/layout"
        "$bin/layout" | diff ffi/layout.txt - || fail "ffi/layout.txt is not what $cc sees"
    done
    cat > "$work/iovec.c" <<'C'
#include <drywire.h>
#include <sys/uio.h>
_Static_assert(sizeof(drywire_iov) == sizeof(struct iovec), "size");
_Static_assert(offsetof(drywire_iov, base) == offsetof(struct iovec, iov_base), "base");
_Static_assert(offsetof(drywire_iov, len) == offsetof(struct iovec, iov_len), "len");
C
    gcc -std=gnu11 -Iinclude -fsyntax-only "$work/iovec.c"
    cargo test --quiet -p drywire-ffi --lib > "$work/rust.log" 2>&1 || { cat "$work/rust.log"; fail "Rust tests"; }
    note "layout of C = layout.txt = layout of Rust, $(wc -l < ffi/layout.txt) lines; $(grep -o '[0-9]* passed' "$work/rust.log" | head -n 1) in Rust"
}

# A program built on an earlier day runs on the library of today.
step_abi() {
    built release
    python3 "$check/abi.py" "$work/abi" > "$work/abi.out" || { cat "$work/abi.out"; fail "abi"; }
    cp "$release/libdrywire_ffi.so" "$work/libdrywire.so.0.1"
    local day
    for day in ffi/abi/*/; do
        day=$(basename "$day")
        LD_LIBRARY_PATH=$work python3 "$check/programs.py" "$work/abi/$day/bin" old > "$work/old.out" ||
            { cat "$work/old.out"; fail "programs of $day"; }
    done
    gcc $strict "$check/old_program.c" "$release/libdrywire_ffi.a" $private -o "$bin/old" && "$bin/old" > /dev/null
    note "$(cat "$work/abi.out"); its programs run on this library, so does one with shorter structs"
}

compile() { # name, source, library, more
    gcc -std=c11 -g -O1 -Wall -Wextra -Iinclude -I"$work/gen" -I"$check" "$check/$2" ${4-} "$3" $private -o "$bin/$1"
}

# Call traces of clients that others wrote.
seeds=$work/seeds
make_seeds() {
    rm -rf "$seeds"
    python3 "$check/seeds.py" fuzz/corpus/memcached_clients "$seeds"
}

step_misuse() {
    built debug
    python3 "$check/generate.py" misuse > "$work/gen/misuse.inc"
    compile misuse misuse.c "$debug"
    valgrind -q --leak-check=full --show-leak-kinds=definite --error-exitcode=9 "$bin/misuse" > "$work/misuse.out" || fail "misuse"
    note "$(cat "$work/misuse.out"), under valgrind without error or leak"
}

step_panic() {
    built hooks
    python3 "$check/generate.py" panic > "$work/gen/panic.inc"
    compile panic panic.c "$work/libhooks.a"
    # A destructor that is interrupted by a panic loses its memory: errors count here, leaks do not.
    valgrind -q --leak-check=no --error-exitcode=9 "$bin/panic" > "$work/panic.out" 2> "$work/panic.err" ||
        { grep -v 'on demand\|panicked\|RUST_BACKTRACE\|^$' "$work/panic.err"; fail "panic"; }
    note "$(cat "$work/panic.out"), under valgrind"
}

step_replay() {
    built debug; built release
    compile replay fuzz.c "$debug" -DREPLAY
    compile replay-release fuzz.c "$release/libdrywire_ffi.a" -DREPLAY
    "$bin/replay" --random 3000 > "$work/replay.1"
    "$bin/replay" --random 3000 | cmp - "$work/replay.1" || fail "two runs differ"
    "$bin/replay-release" --random 3000 | cmp - "$work/replay.1" || fail "debug and release differ"
    valgrind -q --leak-check=full --error-exitcode=9 "$bin/replay" --random 60 > /dev/null || fail "replay under valgrind"
    make_seeds
    "$bin/replay" "$seeds"/* > "$work/seeds.1"
    "$bin/replay-release" "$seeds"/* | cmp - "$work/seeds.1" || fail "debug and release differ on recorded clients"
    local sent; sent=$(awk '{ sum += $2 } END { print sum }' "$work/seeds.1")
    [ "$sent" -gt 10000 ] || fail "recorded clients got only $sent bytes"
    valgrind -q --leak-check=full --error-exitcode=9 "$bin/replay" "$seeds"/* | cmp - "$work/seeds.1" || fail "recorded clients under valgrind"
    note "3000 call traces give the same bytes again, in debug and release; so do $(wc -l < "$work/seeds.1") of recorded clients, under valgrind too"
}

step_nomem() {
    built debug
    compile nomem nomem.c "$debug"
    "$bin/nomem" > "$work/nomem.out" || fail "nomem"
    note "$(cat "$work/nomem.out")"
}

step_programs() {
    built release
    local lib=$release/libdrywire_ffi.a
    for program in memcached fanout chat; do
        gcc -std=c11 -O2 $strict -Iinclude bindings/c/$program.c bindings/c/epoll_loop.c "$lib" $private -o "$bin/$program"
    done
    for program in reframe client; do
        gcc -std=c11 -O2 $strict -Iinclude bindings/c/$program.c "$lib" $private -o "$bin/$program"
    done
    g++ -std=c++17 -O2 $strict -Wshadow -Iinclude bindings/cpp/memcached.cpp "$lib" $private -o "$bin/memcached-cpp"
    python3 "$check/programs.py" "$bin" > "$work/programs.out" || { cat "$work/programs.out"; fail "programs"; }
    sed 's/^/  /' "$work/programs.out"
    "$bin/memcached" --port 0 > "$work/port" &
    local server=$!
    sleep 0.5
    tests/clients/run.sh "127.0.0.1:$(sed 's/.* //' "$work/port")" > "$work/clients.out" 2>&1 ||
        { kill $server; cat "$work/clients.out"; fail "clients of others"; }
    kill $server
    note "memcached: the clients of others are content (tests/clients/run.sh)"
}

# What the header says of threads: nothing races where it allows them, and misuse is refused.
step_threads() {
    built debug
    compile threads threads.c "$debug"
    valgrind -q --tool=helgrind --error-exitcode=9 "$bin/threads" > "$work/threads.out" || fail "threads under helgrind"
    "$bin/threads" misuse > /dev/null || fail "one server from two threads"
    note "$(cat "$work/threads.out"): no race under helgrind; one server from several threads at once is refused"
}

# The page's examples compile and run, and are in the page; so is every function.
step_docs() {
    built debug
    gcc -std=c11 -g $strict -Iinclude "$check/snippets.c" "$debug" $private -o "$bin/snippets"
    "$bin/snippets" > /dev/null || fail "the examples of docs/c-api.md"
    python3 "$check/docs.py" || fail "docs/c-api.md"
    note "the examples of docs/c-api.md compile and run; the page is current"
    python3 "$check/doxygen.py" > "$work/doxygen.out" || fail "doxygen"
    note "$(cat "$work/doxygen.out")"
}

step_install() {
    built release
    "$check/install.sh" "$work/install" > "$work/install.out" || fail "install"
    note "$(tail -n 1 "$work/install.out")"
    "$check/cinstall.sh" "$work/cinstall" > "$work/cinstall.out" || { cat "$work/cinstall.out"; fail "cinstall"; }
    note "$(tail -n 1 "$work/cinstall.out")"
}

instructions() { valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'; }
per() { # how many more, program and arguments before the number
    local few=$1 more=$2; shift 2
    echo $((($(instructions "$@" "$more") - $(instructions "$@" "$few")) / (more - few)))
}

step_cost() {
    built release
    cp "$release/libdrywire_ffi.so" "$work/libdrywire.so.0.1"
    ln -sf libdrywire.so.0.1 "$work/libdrywire.so"
    gcc -O2 -Iinclude "$check/cost.c" -L"$work" -ldrywire -Wl,-rpath,"$work" -o "$bin/cost"
    local loop need get rust
    loop=$(per 1000 11000 "$bin/cost" -)
    need=$(($(per 1000 11000 "$bin/cost" need) - loop))
    [ "$need" -le 20 ] || fail "an empty call takes $need instructions"
    get=$(per 10 110 "$bin/cost" get)
    rust=$(per 10 110 "$release/examples/cost")
    [ $((get * 100)) -le $((rust * 115)) ] || fail "50 gets take $get instructions in C, $rust in Rust"
    [ "$("$bin/cost" get 1000 | cut -d' ' -f2)" = 0 ] || fail "gets allocate"
    note "empty call $need instructions; pipelined get $((get / 50)) in C, $((rust / 50)) in Rust ($((get * 1000 / rust - 1000)) per mille more); no allocation"
}

step_asan() {
    built asan
    python3 "$check/generate.py" misuse > "$work/gen/misuse.inc"
    local flags="-std=c11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -Iinclude -I$work/gen -I$check"
    clang $flags "$check/misuse.c" "$asan" $private -o "$bin/misuse-asan" -Wno-unused-result
    "$bin/misuse-asan" > /dev/null || fail "misuse under the address sanitizer"
    clang $flags -DREPLAY "$check/fuzz.c" "$asan" $private -o "$bin/replay-asan"
    "$bin/replay-asan" --random 1500 > /dev/null || fail "replay under the address sanitizer"
    make_seeds
    "$bin/replay-asan" "$seeds"/* > /dev/null || fail "recorded clients under the address sanitizer"
    # Proof that the sanitizer looks inside the library: a handle used after it was freed.
    printf '#include <drywire.h>\nint main(void) { drywire_client *c; (void)!drywire_memcached_client_new(0, &c); drywire_client_free(c); return (int)drywire_client_wants(c); }\n' > "$work/late.c"
    clang $flags "$work/late.c" "$asan" $private -o "$bin/late"
    if "$bin/late" 2> "$work/late.err"; then fail "use after free is not found"; fi
    grep -q heap-use-after-free "$work/late.err" || fail "use after free is not found"
    note "misuse, 1500 call traces and those of recorded clients clean under the address sanitizer, in Rust too; it finds a late use"
}

# Rust's own library is not instrumented: it hides no race of ours, because all that touches memory of
# ours or of callers is compiled with us; a planted race inside the library proves that.
step_tsan() {
    local runtime name
    runtime=$(ls "$(rustc +nightly --print sysroot)"/lib/rustlib/x86_64-unknown-linux-gnu/lib/librustc*_rt.tsan.a) ||
        { note "skipped: the nightly compiler has no thread sanitizer here"; return; }
    RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_INCREMENTAL=0 \
        cargo +nightly build --quiet -p drywire-ffi --lib --target x86_64-unknown-linux-gnu --target-dir "$CARGO_TARGET_DIR/tsan"
    local library=$CARGO_TARGET_DIR/tsan/x86_64-unknown-linux-gnu/debug/libdrywire_ffi.a
    for name in threads race; do
        # clang instruments; the runtime is the one that belongs to this Rust.
        clang -std=c11 -g -O1 -fsanitize=thread -Iinclude -c "$check/$name.c" -o "$work/$name.o"
        clang "$work/$name.o" "$library" -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive $private -o "$bin/$name-tsan"
    done
    "$bin/threads-tsan" > "$work/tsan.log" 2>&1 && "$bin/threads-tsan" misuse >> "$work/tsan.log" 2>&1 ||
        { head -n 60 "$work/tsan.log"; fail "threads under the thread sanitizer"; }
    if "$bin/race-tsan" > "$work/race.log" 2>&1; then fail "a planted race is not found"; fi
    grep -q 'data race' "$work/race.log" && grep -q drywire_conn_feed "$work/race.log" || fail "a planted race is not found"
    note "no race under the thread sanitizer, not even where one server is used from several threads; it finds a planted one"
}

# Through the exported functions alone. The component is not part of every nightly.
step_miri() {
    cargo +nightly miri --version >/dev/null 2>&1 || { note "skipped: no Miri (rustup +nightly component add miri)"; return; }
    # A test that is too much for Miri shall name itself, not take all the time that CI has.
    MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance" timeout 1200 cargo +nightly miri test -p drywire-ffi --lib \
        > "$work/miri.log" 2>&1 || { tail -n 60 "$work/miri.log"; fail "Miri"; }
    note "$(grep -o '[0-9]* passed' "$work/miri.log" | head -n 1) under Miri"
}

step_go() {
    command -v go >/dev/null || { note "skipped: no go (Debian: golang-go)"; return; }
    built release
    CGO_CFLAGS="-I$root/include" CGO_LDFLAGS="$release/libdrywire_ffi.a $private" GO111MODULE=off \
        go build -o "$bin/smoke-go" "$check/smoke.go" || fail "go build"
    GODEBUG=cgocheck=1 "$bin/smoke-go" > "$work/go.out" || fail "the program in Go"
    note "$(cat "$work/go.out")"
}

step_fuzz() {
    built asan
    clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -I"$check" "$check/fuzz.c" "$asan" $private -o "$bin/fuzz"
    mkdir -p "$work/corpus"
    make_seeds
    "$bin/fuzz" -max_total_time="${FUZZ_SECONDS:-20}" -max_len=2000 -print_final_stats=1 "$work/corpus" "$seeds" > "$work/fuzz.log" 2>&1 ||
        { tail -n 40 "$work/fuzz.log"; fail "the fuzzer found something"; }
    note "fuzzed through the C interface: $(sed -n 's/stat::number_of_executed_units: //p' "$work/fuzz.log") runs"
}

step_python() {
    built release
    if [ ! -e "$work/venv/made" ]; then
        python3 -m venv "$work/venv"
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check cffi setuptools wheel pytest mypy
        touch "$work/venv/made"
    fi
    rm -rf "$work/wheels"
    make -s wheel PYTHON="$work/venv/bin/python" WHEELS="$work/wheels" > "$work/wheel.log" 2>&1 || { cat "$work/wheel.log"; fail "wheel"; }
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$work"/wheels/*.whl
    (cd bindings/python && "$work/venv/bin/python" -m pytest -q -p no:cacheprovider tests) > "$work/pytest.log" 2>&1 || { tail -n 60 "$work/pytest.log"; fail "pytest"; }
    (cd "$work" && "$work/venv/bin/python" -m mypy --strict --no-error-summary -p drywire) || fail "mypy"
    note "wheel built, $(tail -n 1 "$work/pytest.log"), mypy --strict clean"
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(header symbols layout abi misuse panic replay nomem threads docs programs install cost asan tsan miri fuzz python go)
tools
for step in "${steps[@]}"; do
    begun=$SECONDS
    echo "$step"
    "step_$step"
    echo "  ($((SECONDS - begun)) s)"
done
echo "the C interface holds"
