#!/bin/sh
# Installs what a test needs from Debian, if it is not there:
#
#   tests/install.sh COMMAND=PACKAGE [COMMAND=PACKAGE ...]
#
# Tests that run at the same time wait for each other.
set -eu

missing=
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0
# apt-get waits for others when it installs, but not when it updates its lists.
exec 9>"/tmp/drywire-install-$(id -u).lock"
flock 9
echo "installing$missing"
root=
[ "$(id -u)" = 0 ] || root=sudo
wait="-o DPkg::Lock::Timeout=300" # for others than us
# shellcheck disable=SC2086 # several words each
$root apt-get $wait update -qq && $root env DEBIAN_FRONTEND=noninteractive apt-get $wait install -qq -y --no-install-recommends $missing >/dev/null || {
    echo "$0: cannot install:$missing" >&2
    exit 1
}
