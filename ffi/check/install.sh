#!/bin/sh
# Installs into a clean prefix, moves it, and builds and runs a program from there in every way that
# is promised: pkg-config shared and static, CMake shared and static, plain cc. Then uninstalls.
#
#   install.sh WORK     WORK is a folder for it all; the library must be built already
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$1
rm -rf "$work"
mkdir -p "$work/src"
cd "$root"
make -s install PREFIX=/opt/drywire DESTDIR="$work/stage" >/dev/null
mv "$work/stage/opt/drywire" "$work/moved"
prefix=$work/moved
(cd "$prefix" && find . -type f -o -type l | sort) > "$work/files"
diff - "$work/files" <<'FILES'
./include/drywire.h
./include/drywire.hpp
./include/drywire_guard.hpp
./lib/cmake/drywire/drywireConfig.cmake
./lib/cmake/drywire/drywireConfigVersion.cmake
./lib/libdrywire.a
./lib/libdrywire.so
./lib/libdrywire.so.0.1
./lib/libdrywire.so.0.1.0
./lib/pkgconfig/drywire.pc
FILES

cp ffi/check/old_program.c "$work/src/program.c"
cat > "$work/src/version.c" <<'C'
#include <drywire.h>
int main(void) {
    return drywire_version_num() == DRYWIRE_VERSION_NUM && drywire_abi_version() == DRYWIRE_ABI ? 0 : 1;
}
C
cd "$work"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
for source in program version; do
    cc src/$source.c $(pkg-config --cflags --libs drywire) -Wl,-rpath,"$prefix/lib" -o shared
    ./shared >/dev/null
    cc src/$source.c $(pkg-config --cflags drywire) "$prefix/lib/libdrywire.a" \
        $(pkg-config --libs --static drywire | tr ' ' '\n' | grep -v -e '^-L' -e '^-ldrywire$') -o static
    ./static >/dev/null
    cc src/$source.c -I"$prefix/include" -L"$prefix/lib" -ldrywire -o plain
    LD_LIBRARY_PATH=$prefix/lib ./plain >/dev/null
done
ldd static | grep drywire && { echo "install.sh: the static program needs the shared library" >&2; exit 1; }
[ "$(pkg-config --modversion drywire)" = 0.1.0 ]

cat > src/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.16)
project(consumer C)
find_package(drywire 0.1 REQUIRED)
find_package(drywire 0.2 QUIET)
if(drywire_FOUND)
  message(FATAL_ERROR "0.1 passes for 0.2")
endif()
add_executable(with_shared version.c)
target_link_libraries(with_shared drywire::shared)
add_executable(with_static version.c)
target_link_libraries(with_static drywire::static)
CMAKE
cmake -S src -B build -DCMAKE_PREFIX_PATH="$prefix" >cmake.log && cmake --build build >>cmake.log || {
    cat cmake.log >&2
    exit 1
}
build/with_shared && build/with_static

cd "$root"
make -s install PREFIX=/opt/drywire LIBDIR=/opt/drywire/lib/x86_64-linux-gnu DESTDIR="$work/multi" >/dev/null
PKG_CONFIG_PATH=$work/multi/opt/drywire/lib/x86_64-linux-gnu/pkgconfig
[ -e "$(pkg-config --variable=libdir drywire)/libdrywire.so" ]
make -s uninstall PREFIX=/opt/drywire LIBDIR=/opt/drywire/lib/x86_64-linux-gnu DESTDIR="$work/multi"
[ -z "$(find "$work/multi" -type f -o -type l)" ] || { echo "install.sh: uninstall left files" >&2; exit 1; }
echo "install: moved prefix works with pkg-config, CMake and cc, shared and static; uninstall is clean"
