#!/usr/bin/env python3
"""The epoll memcached server in C beside `drywire serve -t 1`: rates as a Markdown table.

    bench/c_server.py                     # about four minutes; wants two idle cores
    bench/c_server.py --rounds 3 --duration 0.5

Both serve the same engine with one thread on core 0, `bindings/c/memcached.c` through the C interface,
linked with the static library; `drywire load` runs with one thread on core 1 and checks every answer.
In each round both are measured one right after the other, in turns who is first; the ratio of a
round is theirs, and the table shows the median of those ratios, so that a machine that gets slower
for a while does so for both.

Exit code 0 if the C server reaches the bar, 1 if not or if a server answered wrongly, 2 for usage.
"""

import argparse
import contextlib
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

from servers import ROOT, build, load, require_two_cores, running, say

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
CONNECTIONS, KEYS, VALUE = 50, 100_000, 100
CASES = [(1, "get"), (1, "set"), (20, "get"), (20, "set")]
BAR = 0.9


def main():
    options = parse_arguments()
    drywire, in_c = build_both()
    servers = {"C": [in_c, "--port"], "serve": [drywire, "serve", "-t", "1", "-m", "1024", "-l", "127.0.0.1", "-p"]}
    rounds = measure(drywire, servers, options)
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.strip()
    print(f"{revision}, Linux {platform.release()}, {os.cpu_count()} cores; {options.rounds} rounds of {options.duration:g} s; {CONNECTIONS} connections,")
    print(f"{KEYS:,} keys, values of {VALUE} bytes, every answer checked.\n")
    return 0 if print_table(rounds) else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="paired rounds of each measurement (default 15)")
    parser.add_argument("--duration", type=float, default=1.5, help="seconds of each measurement (default 1.5)")
    options = parser.parse_args()
    if options.rounds < 1 or options.duration <= 0:
        parser.error("--rounds and --duration have to be positive")
    require_two_cores(parser)
    return options


def build_both():
    drywire = build()
    subprocess.run(["cargo", "build", "--release", "--package", "drywire-ffi"], cwd=ROOT, check=True)
    private = re.search(r"^PRIVATE_LIBS := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    in_c = TARGET / "bench-memcached-c"
    subprocess.run(
        [os.environ.get("CC", "cc"), "-std=c11", "-O2", f"-I{ROOT}/include", f"{ROOT}/bindings/c/memcached.c",
         f"{ROOT}/bindings/c/epoll_loop.c", f"{TARGET}/libdrywire_ffi.a", *private, "-o", str(in_c)],
        check=True,
    )  # fmt: skip
    return drywire, str(in_c)


def ask(drywire, server, op, depth, duration):
    """The measured phase of one run of the load tool."""
    report = load(
        drywire, server, "memcached", "--op", op, "--depth", str(depth), "--connections", str(CONNECTIONS),
        "--keys", str(KEYS), "--value-size", str(VALUE), "--duration", f"{duration}s",
    )  # fmt: skip
    return report["measured"]


def measure(drywire, servers, options):
    """{(depth, op): [{server: measured phase}, one a round]}"""
    rounds = {case: [] for case in CASES}
    with contextlib.ExitStack() as stack:
        up = {name: stack.enter_context(running(lambda port: [*command, str(port)])) for name, command in servers.items()}
        for number in range(options.rounds):
            for (depth, op), found in rounds.items():
                order = list(servers)[:: 1 if number % 2 == 0 else -1]
                found.append({name: ask(drywire, up[name], op, depth, options.duration) for name in order})
                rates = ", ".join(f"{name} {found[-1][name]['rate']:,.0f}/s" for name in servers)
                say(f"{number + 1}/{options.rounds} {op} {depth} in flight: {rates}")
    return rounds


def print_table(rounds):
    cpu = lambda phase: 1e6 * phase["server"]["cpu_seconds"] / phase["sent"]
    print("| in flight | request | C, 1/s | `drywire serve -t 1`, 1/s | C to serve, median of rounds | lowest-highest | bar | CPU in C, us each | CPU in serve, us each | p99 in C, us | p99 in serve, us |")
    print("|--:|---|--:|--:|--:|--:|---|--:|--:|--:|--:|")
    met = True
    for (depth, op), found in rounds.items():
        middle = lambda name, pick: statistics.median(pick(one[name]) for one in found)
        ratios = sorted(one["C"]["rate"] / one["serve"]["rate"] for one in found)
        ratio = statistics.median(ratios)
        met &= ratio >= BAR
        rate, tail = (lambda phase: phase["rate"]), (lambda phase: phase["latency_us"]["p99"])
        print(
            f"| {depth} | {op} | {middle('C', rate):,.0f} | {middle('serve', rate):,.0f} | {ratio:.2f} "
            f"| {ratios[0]:.2f}-{ratios[-1]:.2f} | >= {BAR} {'met' if ratio >= BAR else 'MISSED'} "
            f"| {middle('C', cpu):.2f} | {middle('serve', cpu):.2f} | {middle('C', tail):.0f} | {middle('serve', tail):.0f} |"
        )
    return met


if __name__ == "__main__":
    sys.exit(main())
