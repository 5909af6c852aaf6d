#!/bin/sh
# Compares what `cargo cinstall` installs with what `make install` does: the same files, SONAME, flags
# and needs of the shared library, the same CMake files, the same answers of pkg-config. Needs cargo-c
# (cargo install cargo-c --locked), which takes ten minutes to build: says so and passes without it.
#
#   cinstall.sh WORK     WORK is a folder for it all; `make` must have built the library already
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$1
cargo cinstall --version >/dev/null 2>&1 || {
    echo "cinstall: cargo-c is not installed; not compared"
    exit 0
}
rm -rf "$work"
mkdir -p "$work"
cd "$root"
make -s install PREFIX="$work/make" >/dev/null
cargo cinstall --release -p drywire-ffi --prefix "$work/cargo" --libdir "$work/cargo/lib" \
    --datadir "$work/cargo/lib" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

describe() {
    cd "$work/$1"
    find . -type f -o -type l | sort
    find . -type l -exec sh -c 'echo "$1 is $(basename "$(readlink -f "$1")")"' _ {} \; | sort
    readelf -d lib/libdrywire.so | sed -n 's/.*\(SONAME\|NEEDED\|NODELETE\)/\1/p' | sort
    nm -D --defined-only lib/libdrywire.so | awk '{print $3}' | sort
    cat include/* lib/cmake/drywire/*
    sed -e "s|^prefix=.*|prefix=|" lib/pkgconfig/drywire.pc | grep . | sort
    export PKG_CONFIG_PATH="$work/$1/lib/pkgconfig"
    for ask in --cflags --libs '--static --libs' --modversion; do
        pkg-config $ask drywire | sed "s|$work/$1|PREFIX|g; s|PREFIX/lib/pkgconfig/../..|PREFIX|g; s/ *$//"
    done
    cd "$root"
}
describe make > "$work/make.txt"
describe cargo > "$work/cargo.txt"
diff "$work/make.txt" "$work/cargo.txt" || { echo "cinstall.sh: the two trees differ (< make, > cargo)" >&2; exit 1; }
printf '#include <drywire_guard.hpp>\nint main() { return drywire_version_num() == DRYWIRE_VERSION_NUM ? 0 : 1; }\n' > "$work/one.cpp"
PKG_CONFIG_PATH="$work/cargo/lib/pkgconfig"
export PKG_CONFIG_PATH
c++ -std=c++17 "$work/one.cpp" $(pkg-config --cflags --libs drywire) -Wl,-rpath,"$work/cargo/lib" -o "$work/one"
"$work/one"
echo "cinstall: cargo cinstall and make install give the same tree"
