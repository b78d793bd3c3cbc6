#!/bin/sh
# Installs into a folder of its own and builds a program against what lies there:
# C and C++, through pkg-config and through the CMake package.
set -u
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0

try() {
    name=$1
    shift
    if "$@" >"$out/log" 2>&1; then
        echo "ok $name"
    else
        cat "$out/log"
        echo "not ok $name"
        failed=1
    fi
}

cat >"$out/user.c" <<'END'
#include <accrue/accrue.h>
#include <accrue/accrue_io.h>
#include <stdio.h>
int main(void)
{
    return printf("accrue %s\n", acr_version()) > 0 ? 0 : 1;
}
END
cp "$out/user.c" "$out/user.cc"
mkdir "$out/package"
cat >"$out/package/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.18)
project(user C)
find_package(accrue 0.1 REQUIRED)
add_executable(user ../user.c)
target_link_libraries(user accrue::accrue_io accrue::accrue)
END

by_pkg_config() {
    # shellcheck disable=SC2046
    "$@" $(pkg-config --cflags accrue_io) -o "$out/user" -Wl,--no-as-needed $(pkg-config --libs accrue_io) &&
        LD_LIBRARY_PATH=$libraries "$out/user"
}

try install cmake --install "$ACCRUE_BUILD" --prefix "$out/usr"
libraries=$(dirname "$(find "$out/usr" -name 'libaccrue.so.0')")
export PKG_CONFIG_PATH="$libraries/pkgconfig"
try c-by-pkg-config by_pkg_config "${CC:-cc}" -std=c17 -Wall -Wextra -Werror -pedantic "$out/user.c"
if command -v g++ >/dev/null; then
    try c++-by-pkg-config by_pkg_config g++ -std=c++17 -Wall -Wextra -Werror -pedantic "$out/user.cc"
else
    echo "skip c++-by-pkg-config: no g++ here"
fi
by_package() {
    cmake -S "$out/package" -B "$out/package/build" -DCMAKE_PREFIX_PATH="$out/usr" &&
        cmake --build "$out/package/build" && LD_LIBRARY_PATH=$libraries "$out/package/build/user"
}
try c-by-cmake-package by_package
try binary "$out/usr/bin/accrue" --version
exit $failed
