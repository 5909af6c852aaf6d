#!/bin/sh
# Judges a running memcached server with clients that others wrote:
#
#   tests/clients/run.sh 127.0.0.1:11211
#
# The server is flushed, and filled with test items. What is missing is installed: memccapable
# from Debian's libmemcached-tools, pymemcache and pylibmc from PyPI into a virtual environment
# under the target folder. Exit code 0 if every client is content, 1 if not, 2 for a wrong call.
set -eu

case "${1:-}" in
    *:[0-9]*) ;;
    *) echo "usage: $0 HOST:PORT of a running memcached server" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")" && pwd)
venv=${CARGO_TARGET_DIR:-$here/../../target}/clients-venv

install_clients() {
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
}

"$here/../install.sh" memccapable=libmemcached-tools python3=python3
# A module, not a command: Debian has it in a package of its own.
python3 -c 'import ensurepip' 2>/dev/null || "$here/../install.sh" no-ensurepip=python3-venv
# The stamp is written last: a half-made environment is made again.
stamp="$venv/made-for"
if ! cmp -s "$here/requirements.txt" "$stamp"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    install_clients || {
        # No built package for this Python: pylibmc has to be compiled.
        "$here/../install.sh" gcc=gcc no-headers=libmemcached-dev no-headers=python3-dev no-headers=zlib1g-dev
        install_clients
    }
    cp "$here/requirements.txt" "$stamp"
fi

failed=
echo "== memccapable"
memccapable -h "${1%:*}" -p "${1##*:}" -a || failed="$failed memccapable"
echo "== pymemcache and pylibmc"
MEMCACHED_ADDRESS=$1 PYTHONDONTWRITEBYTECODE=1 \
    "$venv/bin/python" -m unittest discover --start-directory "$here" --verbose || failed="$failed python"
[ -z "$failed" ] || { echo "not content:$failed" >&2; exit 1; }
echo "all clients are content"
