#!/usr/bin/env bash
# Runs every test. What a test needs and the machine lacks is installed on the way (real memcached
# clients from Debian and PyPI: tests/clients/run.sh).
set -euo pipefail
cd "$(dirname "$0")"

cargo test --workspace
