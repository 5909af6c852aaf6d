#!/usr/bin/env python3
"""drywire beside Debian's memcached: rate, latency, CPU time and memory, as Markdown tables.

    bench/memcached.py                    # about four minutes; wants two idle cores
    bench/memcached.py --repetitions 1 --duration 1

Both servers run with one thread on core 0, `drywire load` with one thread on core 1, all of it
on 127.0.0.1. The servers take turns within each repetition; the tables show medians. Debian's
memcached is slow at pipelined gets, so gets and sets are both compared with its *set* rate.

Exit code 0 if every bar is met, 1 if one is missed or a server answered wrongly, 2 for usage.
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys

from servers import ROOT, build, find, load, require_two_cores, running, say

CONNECTIONS, KEYS, VALUE = 50, 100_000, 100
IDLE_CONNECTIONS = 10_000
ITEMS, ITEM_KEY, ITEM_VALUE = 1_000_000, 10, 32

# Bars: rate as a multiple of memcached's set rate by depth, bytes per connection and per item.
RATE_BARS = {1: 1.1, 20: 1.5}
CONNECTION_BAR = 640
ITEM_BAR = 64


def main():
    options = parse_arguments()
    drywire = build() if options.drywire is None else options.drywire
    servers = {
        "drywire": [drywire, "serve"] if options.subject is None else options.subject.split(),
        "memcached": [find("memcached"), *(["-u", "root"] if os.getuid() == 0 else [])],
    }
    runs = measure_rates(drywire, servers, options)
    idle = {name: idle_memory(drywire, command) for name, command in servers.items()}
    items = {name: item_memory(drywire, command) for name, command in servers.items()}
    print_machine(servers)
    met = print_rates(runs)
    met &= print_memory(idle, items)
    return 0 if met else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--duration", type=float, default=3, help="seconds of each measurement (default 3)")
    parser.add_argument("--drywire", help="an existing binary; by default a release build of this tree")
    parser.add_argument("--subject", help="another server command in the place of `drywire serve`")
    options = parser.parse_args()
    if options.repetitions < 1 or options.duration <= 0:
        parser.error("--repetitions and --duration have to be positive")
    require_two_cores(parser)
    return options


def serving(command):
    """A memcached server, ours or theirs: the flags are the same."""
    return running(lambda port: [*command, "-t", "1", "-l", "127.0.0.1", "-p", str(port), "-c", "12000", "-m", "1024"])


def measure_rates(drywire, servers, options):
    """{(op, depth): {server: [measured phase]}}"""
    runs = {(op, depth): {name: [] for name in servers} for depth in RATE_BARS for op in ("get", "set")}
    with contextlib.ExitStack() as stack:
        up = {name: stack.enter_context(serving(command)) for name, command in servers.items()}
        for repetition in range(options.repetitions):
            for (op, depth), found in runs.items():
                # The order changes with each repetition, so that neither gets the better moment.
                for name in list(servers)[:: 1 if repetition % 2 == 0 else -1]:
                    report = load(
                        drywire, up[name], "memcached",
                        "--op", op, "--depth", str(depth), "--connections", str(CONNECTIONS),
                        "--keys", str(KEYS), "--value-size", str(VALUE), "--duration", f"{options.duration}s",
                    )  # fmt: skip
                    phase = report["measured"]
                    if phase["miss"]:
                        sys.exit(f"{name}: {phase['miss']} misses with all keys stored")
                    found[name].append(phase)
                    say(f"{repetition + 1}/{options.repetitions} {op} depth {depth} {name}: {phase['rate']:,.0f}/s")
    return runs


def idle_memory(drywire, command):
    """Bytes of resident memory per idle connection, silent from the start and after one get."""
    found = []
    for ask in ([], ["--ask"]):
        with serving(command) as server:
            report = load(drywire, server, "idle", "--connections", str(IDLE_CONNECTIONS), "--hold", "1s", *ask)
            found.append(report["memory"]["bytes_per_connection"])
    say(f"{command[0]}: {found[0]:.0f} bytes per idle connection, {found[1]:.0f} after a get")
    return found


def item_memory(drywire, command):
    """Bytes of resident memory per item above its key and value."""
    with serving(command) as server:
        report = load(
            drywire, server, "memcached", "--keys", str(ITEMS), "--key-size", str(ITEM_KEY),
            "--value-size", str(ITEM_VALUE), "--depth", "20", "--op", "get", "--duration", "2s",
        )  # fmt: skip
    if report["measured"]["miss"]:
        sys.exit(f"{command[0]}: some of {ITEMS} items are gone")
    memory = report["preload"]["server"]
    each = (memory["resident_after"] - memory["resident_before"]) / ITEMS
    say(f"{command[0]}: {each:.1f} bytes per item of {ITEM_KEY} + {ITEM_VALUE}")
    return each - ITEM_KEY - ITEM_VALUE


def print_machine(servers):
    def output(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.strip()

    models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    revision = output("git", "describe", "--always", "--dirty") or "unknown"
    print(f"Machine: {models[0] if models else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}.")
    print(f"drywire {revision} (`{' '.join(map(os.path.basename, servers['drywire']))}`)", end="")
    print(f" beside {output(servers['memcached'][0], '-V')}, both with `-t 1`.")
    print(f"{CONNECTIONS} connections, {KEYS:,} keys, values of {VALUE} bytes, every answer checked.\n")


def median(phases, pick):
    return statistics.median(map(pick, phases))


def print_rates(runs):
    rate = lambda phase: phase["rate"]
    cpu = lambda phase: 1e6 * phase["server"]["cpu_seconds"] / phase["sent"]
    tool_share = lambda phase: 100 * phase["tool_cpu_seconds"] / phase["seconds"]
    print("| in flight | request | server | rate, 1/s | lowest-highest | to memcached's set | bar | p50, us | p99, us | server CPU, us each | by CPU | load tool's core |")
    print("|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    met = True
    for (op, depth), found in runs.items():
        base = median(runs["set", depth]["memcached"], rate)
        base_cpu = median(runs["set", depth]["memcached"], cpu)
        for name, phases in found.items():
            ratio = median(phases, rate) / base
            bar = RATE_BARS[depth] if name == "drywire" else None
            met &= bar is None or ratio >= bar
            rates = sorted(map(rate, phases))
            latency = [median(phases, lambda phase, at=at: phase["latency_us"][at]) for at in ("p50", "p99")]
            print(
                f"| {depth} | {op} | {name} | {median(phases, rate):,.0f} | {rates[0]:,.0f}-{rates[-1]:,.0f} "
                f"| {ratio:.2f} | {verdict(bar, ratio, '>=')} | {latency[0]:.0f} | {latency[1]:.0f} "
                f"| {median(phases, cpu):.2f} | {base_cpu / median(phases, cpu):.2f} | {median(phases, tool_share):.0f} % |"
            )
    print("\nBy CPU: the same ratio for requests per second of the server's CPU time, which other")
    print("programs on the machine disturb less. Where the load tool's core is full and the server's is")
    print("not, the rate is the tool's.\n")
    return met


def print_memory(idle, items):
    print("| resident memory | drywire | memcached | bar |")
    print("|---|--:|--:|--:|")
    rows = [
        (f"bytes per idle connection, {IDLE_CONNECTIONS:,} silent ones", {n: found[0] for n, found in idle.items()}, CONNECTION_BAR),
        ("the same after one get on each", {n: found[1] for n, found in idle.items()}, CONNECTION_BAR),
        (f"bytes per item above {ITEM_KEY} + {ITEM_VALUE}, {ITEMS:,} items", items, ITEM_BAR),
    ]
    for words, found, bar in rows:
        print(f"| {words} | {found['drywire']:.0f} | {found['memcached']:.0f} | {verdict(bar, found['drywire'], '<=')} |")
    return all(found["drywire"] <= bar for _, found, bar in rows)


def verdict(bar, value, sign):
    if bar is None:
        return ""
    met = value >= bar if sign == ">=" else value <= bar
    return f"{sign} {bar} {'met' if met else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
