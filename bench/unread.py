#!/usr/bin/env python3
"""400,000 requests sent without reading, and what the other clients notice of it, as Markdown.

    bench/unread.py                          # about four minutes; wants two idle cores
    bench/unread.py --repetitions 1 --services sudoku

`drywire serve` runs on core 0, the loads on core 1. Polite clients ask at a fixed rate and are
measured from when each request was due: alone; while ten others send 400,000 requests, as much at
once as the system takes, and read nothing; and when those have nothing left to send, or nobody to
take it, and still read nothing (the server then uses less than a tenth of its core). After that they
read everything. The others are of the class SCHED_IDLE, so that the tool that measures is not
disturbed by the tool that floods, with which it shares its core: its own lag is shown.

Easy boards, and gets of values of 100 bytes. Exit code 0 if each of the 400,000 was answered or
refused, none lost, and the server's memory grew by no more than its cap; 1 if not, 2 for usage. The
polite clients' times are printed, not judged.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

from servers import build, load, report_of, require_two_cores, running, say, start_load

UNREAD, RUDE = 400_000, 10
# What `--buffer-limit` allows all connections together.
CAP_MIB = 256
SECONDS = 3
# Who takes no answers for ten seconds is ended; answers to boards fit into the system's buffers.
HOLD = {"sudoku": 14, "memcached": 9}
WHEN = "alone", "while they are executed", "when they are not taken"
TICKS = os.sysconf("SC_CLK_TCK")


def main():
    options = parse_arguments()
    drywire = options.drywire or build()
    good = True
    for service in options.services.split(","):
        runs = [measure(drywire, service, options, n) for n in range(options.repetitions)]
        good &= show(service, options, runs)
    return 0 if good else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of the measurement (default 5)")
    parser.add_argument("--rate", type=int, default=400, help="requests a second of the polite (default 400)")
    parser.add_argument("--services", default="sudoku,memcached", help="default sudoku,memcached")
    parser.add_argument("--drywire", help="an existing binary; by default a release build of this tree")
    options = parser.parse_args()
    if unknown := set(options.services.split(",")) - {"sudoku", "memcached"}:
        parser.error(f"--services: sudoku and memcached are known, not {', '.join(unknown)}")
    require_two_cores(parser)
    return options


def measure(drywire, service, options, number):
    """The polite at the three times, the flood, and by how much the server grew."""
    serve = {
        "sudoku": lambda port: ["--no-memcache", "--workers", "0", "--sudoku", f"127.0.0.1:{port}"],
        "memcached": lambda port: ["-l", f"127.0.0.1:{port}"],
    }[service]
    kind = {"sudoku": ["--board", "easy"], "memcached": ["--no-preload"]}[service]
    polite = [
        service, "open", *kind, "--rate", str(options.rate), "-c", "50", "--duration", f"{SECONDS}s",
        "--max-lag", "60s", "--deadline", "60s",
    ]  # fmt: skip
    hold = HOLD[service]
    with running(lambda port: [drywire, "serve", "-t", "1", *serve(port)]) as server:
        if service == "memcached":
            load(drywire, server, "memcached", "batch", "-n", "1")
        say(f"{service}, {number + 1} of {options.repetitions}")
        times = [load(drywire, server, *polite)["measured"]]
        before = resident(server)
        flood = start_load(
            drywire, server, service, "stress", *kind, "-n", str(UNREAD), "-c", str(RUDE), "--hold", f"{hold}s",
        )  # fmt: skip
        os.sched_setscheduler(flood.pid, os.SCHED_IDLE, os.sched_param(0))
        times.append(load(drywire, server, *polite)["measured"])
        begun = time.monotonic()
        while busy(server) > 0.1:
            if time.monotonic() > begun + hold - 2 * SECONDS - 1:
                sys.exit(f"{service}: the flood is not over in time")
        times.append(load(drywire, server, *polite)["measured"])
        return times, report_of(flood)["measured"], peak(server) - before


def show(service, options, runs):
    """Rows for docs/benchmarks.md; whether nothing is missing and the memory is bounded."""
    print(f"\n{service}, {options.rate} requests a second of the polite\n")
    print("| polite clients | p50, us | p99, us: median (least - most) | most, us | sent | refused | tool's lag p99, us |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for place, when in enumerate(WHEN):
        at = [times[place] for times, _, _ in runs]
        middle = lambda pick: statistics.median(map(pick, at))
        p99 = sorted(run["latency_us"]["p99"] for run in at)
        print(
            f"| {when} | {middle(lambda run: run['latency_us']['p50']):.0f} "
            f"| {statistics.median(p99):.0f} ({p99[0]:.0f} - {p99[-1]:.0f}) "
            f"| {max(run['latency_us']['max'] for run in at):.0f} | {middle(lambda run: run['sent']):,.0f} "
            f"| {middle(lambda run: run['refused']):,.0f} | {middle(lambda run: run['lag_us']['p99']):.0f} |"
        )
    print(f"\n| {UNREAD:,} unread | ok | refused | lost | wrong | memory grew by, MiB |\n|---|--:|--:|--:|--:|--:|")
    good = True
    for _, flood, bytes_more in runs:
        classes = " | ".join(f"{flood[key]:,}" for key in ("ok", "refused", "lost", "wrong"))
        print(f"| | {classes} | {bytes_more / 2**20:.1f} |", flush=True)
        good &= flood["sent"] == UNREAD == flood["ok"] + flood["refused"] and bytes_more <= CAP_MIB << 20
    return good


def busy(server):
    """The share of a core that the server uses, over a moment."""
    stat = pathlib.Path(f"/proc/{server[1]}/stat")
    used = lambda: sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13])) / TICKS
    before = used()
    time.sleep(0.3)
    return (used() - before) / 0.3


def status(server, key):
    lines = pathlib.Path(f"/proc/{server[1]}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key + ":"))


def resident(server):
    return status(server, "VmRSS")


def peak(server):
    return status(server, "VmHWM")


if __name__ == "__main__":
    sys.exit(main())
