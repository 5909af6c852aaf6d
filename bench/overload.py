#!/usr/bin/env python3
"""Overload on real sockets: the sudoku service at 0.5 to 5 times its capacity, as Markdown.

    bench/overload.py                  # about twenty minutes; wants two idle cores
    bench/overload.py --repetitions 1 --calmest 1 --duration 2 --pauses 4ms

The server runs alone on core 0 with one thread, `drywire load sudoku curve` on core 1: hard
boards, 100 connections, open loop, clients that give up after 50 ms. Once with each of --pauses
(the first is what `drywire serve` does by default, the others are there to compare).

A machine that others use too changes its speed within seconds. Of the repetitions of each point
those count in which it did so least, by its capacity before and after and by the time that others
took (`unrest`), not by what the point itself says. The tables show their medians, and the lowest
and highest. A queue is flat if those who ask in the second half of a point wait no longer than
those in the first.

Before each repetition a process that does nothing but look at the clock runs on each core: for how long
each was taken away tells with how many refusals a server would be late that answers each after exactly
one pause. Where that is near one in a hundred, this machine cannot show their bar.

With `perf` and the right to trace system calls, their number for each board at the highest load is
shown too.

Exit code 0 if the first pause meets every bar at every load, 1 if not, 2 for usage.
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from servers import LOAD_CORE, ROOT, SERVER_CORE, build, load, require_two_cores, running, say

GOODPUT, ACCEPTED_MS, REFUSAL_MS = 90, 50, 5
# The second half's median in terms of the first one's, and milliseconds: near the capacity a queue
# that grows and shrinks at random is no queue that grows.
FLAT, FLAT_MS = 1.5, 2
SYSCALLS = {"reads": "recvfrom", "writes": "sendto"}


def main():
    options = parse_arguments()
    drywire = options.drywire or build()
    print_machine()
    met = True
    for place, pause in enumerate(options.pauses.split(",")):
        curves, gaps = [], []
        for repetition in range(options.repetitions):
            say(f"pause {pause}: curve {repetition + 1} of {options.repetitions}")
            gaps += find_gaps()
            with serving(drywire, pause) as server:
                curves.append(ask(
                    drywire, server, "curve", "--loads", options.loads,
                    "--duration", f"{options.duration}s",
                ))
        good = print_curve(pause, curves, options.calmest)
        print_gaps(pause, gaps, options.repetitions)
        met = met and (good or place > 0)
        capacity = statistics.median(curve["capacity"] for curve in curves)
        rate = int(capacity * float(options.loads.split(",")[-1]))
        print_syscalls(drywire, pause, rate, options)
    sys.exit(0 if met else 1)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=15, help="of each curve (default 15)")
    parser.add_argument("--calmest", type=int, default=5, help="how many of them count (default 5)")
    parser.add_argument("--duration", type=float, default=2, help="seconds of each point (default 2)")
    parser.add_argument("--loads", default="0.5,0.8,1,1.5,2,3,5", help="multiples of the capacity")
    parser.add_argument("--pauses", default="4ms,0", help="values of --refusal-pause (default 4ms,0)")
    parser.add_argument("--drywire", help="an existing binary; by default a release build of this tree")
    options = parser.parse_args()
    if options.repetitions < 1 or options.duration <= 0:
        parser.error("--repetitions and --duration have to be positive")
    if not 1 <= options.calmest <= options.repetitions:
        parser.error("--calmest: from 1 to the repetitions")
    require_two_cores(parser)
    return options


def serving(drywire, pause):
    return running(lambda port: [
        drywire, "serve", "--no-memcache", "--sudoku", f"127.0.0.1:{port}", "-t", "1", "--workers", "0",
        "--refusal-pause", pause,
    ])  # fmt: skip


def ask(drywire, server, *arguments):
    """A load says itself if it was too slow: that is shown, and does not end the run."""
    return load(drywire, server, "sudoku", *arguments, "--board", "hard", strict=False)


GAPS_SECONDS = 2


def find_gaps_of(core):
    """Milliseconds for which the core was taken from a process that did not sleep, above 0.5."""
    os.sched_setaffinity(0, {core})
    gaps, last = [], time.perf_counter_ns()
    end = last + GAPS_SECONDS * 10**9
    while last < end:
        now = time.perf_counter_ns()
        if now - last > 500_000:
            gaps.append((now - last) / 1e6)
        last = now
    return gaps


def find_gaps():
    """Of both cores at the same time."""
    with multiprocessing.Pool(2) as pool:
        ours, theirs = pool.map(find_gaps_of, (SERVER_CORE, LOAD_CORE), chunksize=1)
    return ours + theirs


def milliseconds(pause):
    for unit, size in (("us", 1e-3), ("ms", 1), ("s", 1e3)):
        if pause.endswith(unit):
            return float(pause.removesuffix(unit)) * size
    return 0


def print_gaps(pause, gaps, repetitions):
    slack = REFUSAL_MS - milliseconds(pause)
    late = sum(max(0, gap - slack) for gap in gaps) / (10 * GAPS_SECONDS * repetitions)
    print(f"The cores were taken away for more than 1 ms {sum(gap > 1 for gap in gaps) / (GAPS_SECONDS * repetitions):.1f} "
          f"times a second, for {max(gaps, default=0):.1f} ms at most: a refusal told after exactly {pause} would be late "
          f"in {late:.2f} % of the cases.\n")


def print_machine():
    with open("/proc/loadavg") as file:
        busy = file.read().split()[0]
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    print(f"At {revision or 'unknown'}, load average before the start {busy}.\n")


def print_curve(pause, curves, calmest):
    """Rows for docs/benchmarks.md; whether every bar is met."""
    span = lambda values, form: f"{form.format(min(values))}-{form.format(max(values))}"
    capacities = [curve["capacity"] for curve in curves]
    gathered, alone = (
        statistics.median(100 * curve["refusal"][kind] for curve in curves) for kind in ("gathered", "alone")
    )
    print(f"`--refusal-pause {pause}`: capacity {span(capacities, '{:,.0f}')} boards a second; a refusal costs "
          f"{gathered:.1f} % of a board gathered, {alone:.1f} % alone; the {calmest} calmest of {len(curves)} runs\n")
    print("| offered | of the ceiling, lowest-highest | bar | of the ceiling if refused alone | accepted p99, ms | bar "
          "| accepted p50 by halves, ms | bar | refused | refusals p99, ms | bar | late, wrong, lost | tool lag p99, ms "
          "| unrest at most |")
    print("|--:|--:|---|--:|--:|---|--:|---|--:|--:|---|--:|--:|--:|")
    all_met = True
    for points in zip(*(curve["points"] for curve in curves)):
        points = sorted(points, key=lambda point: point["unrest"])[:calmest]
        unrest = 100 * points[-1]["unrest"]
        share = [100 * point["goodput"] / point["ceiling"] for point in points]
        lone = [100 * point["goodput"] / max(point["ceiling_alone"], 1e-9) for point in points]
        accepted = statistics.median(point["latency_us"]["p99"] for point in points) / 1000
        first, second = (
            statistics.median(point["halves_us"][half] for point in points) / 1000 for half in (0, 1)
        )
        refusals = [point["refusal_us"]["p99"] / 1000 for point in points if point.get("refusal_us")]
        refusal = statistics.median(refusals) if refusals else None
        refused = statistics.median(100 * point["refused"] / point["sent"] for point in points)
        bad = [sum(point[kind] for point in points) for kind in ("late", "wrong", "lost")]
        lag = max(point["lag_us"]["p99"] for point in points) / 1000
        good = statistics.median(share) >= GOODPUT
        fast = accepted <= ACCEPTED_MS
        flat = second <= FLAT * first + FLAT_MS
        # Of fewer than a hundred a 99th percentile is the slowest.
        few = sum(point["refused"] for point in points) < 100 * len(points)
        prompt = few or refusal <= REFUSAL_MS
        all_met = all_met and good and fast and flat and prompt and not any(bad[1:])
        if lag > 5:
            say(f"{points[0]['load']}x: the tool was behind its schedule, the machine is not quiet")
        word = lambda met: "met" if met else "**missed**"
        print(
            f"| {points[0]['load']:g}x | {statistics.median(share):.1f} % ({span(share, '{:.1f}')}) "
            f"| >= {GOODPUT} % {word(good)} | {statistics.median(lone):.1f} % "
            f"| {accepted:.1f} | <= {ACCEPTED_MS} {word(fast)} "
            f"| {first:.1f}, {second:.1f} | flat {word(flat)} | {refused:.1f} % "
            + ("| | " if refusal is None else f"| {refusal:.1f} | {'too few' if few else f'<= {REFUSAL_MS} {word(prompt)}'} ")
            + f"| {', '.join(map(str, bad))} | {lag:.1f} | {unrest:.0f} % |"
        )
    print(flush=True)
    return all_met


def print_syscalls(drywire, pause, rate, options):
    """System calls of the server for each board it is sent, at this rate."""
    perf = shutil.which("perf")
    if perf is None:
        return say("no perf: system calls are not counted")
    with serving(drywire, pause) as server, tempfile.NamedTemporaryFile("r") as counted:
        events = ",".join(f"syscalls:sys_enter_{name}" for name in SYSCALLS.values())
        counter = subprocess.Popen(
            [perf, "stat", "-x", ",", "-e", events, "-p", str(server[1]), "-o", counted.name],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.5)
        report = ask(drywire, server, "open", "--rate", str(rate), "--duration", f"{options.duration}s")
        counter.send_signal(2)
        counter.wait()
        fields = [line.split(",") for line in counted.read().splitlines()]
    counts = {field[2].removeprefix("syscalls:sys_enter_"): field[0] for field in fields if len(field) > 2}
    if not all(counts.get(name, "").isdigit() for name in SYSCALLS.values()):
        return say("perf may not count system calls here")
    each = (f"{int(counts[name]) / report['measured']['sent']:.2f} {kind}" for kind, name in SYSCALLS.items())
    print(f"At {rate:,} boards a second: {' and '.join(each)} for each board.\n", flush=True)


if __name__ == "__main__":
    main()
