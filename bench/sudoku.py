#!/usr/bin/env python3
"""What of the solver is left for the clients of the sudoku service, as Markdown.

    bench/sudoku.py                    # about a minute; wants two idle cores
    bench/sudoku.py --repetitions 1 --duration 1

The solver called in a loop on core 0, then `drywire serve --sudoku -t 1 --workers 0` on core 0 and
`drywire load sudoku pipeline` on core 1: 10 connections, easy boards, every answer checked. In turns,
the same boards for both. The bar is on boards a second, the server's core against the solver's.

Exit code 0 if the median of the ratios meets the bar for every depth, 1 if not, 2 for usage.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

from servers import SERVER_CORE, build, load, require_two_cores, running, say

BAR = 0.7


def main():
    options = parse_arguments()
    drywire = options.drywire or build()
    depths = [int(depth) for depth in options.depths.split(",")]
    rounds = []
    for number in range(options.repetitions):
        say(f"round {number + 1} of {options.repetitions}")
        alone = local(drywire, options)
        rounds.append((alone, {depth: served(drywire, depth, options) for depth in depths}))
    rates = [alone["rate"] for alone, _ in rounds]
    print("| easy boards | rate, 1/s: median (least - most) | to the solver alone, median | bar | CPU, us each | by CPU |")
    print("|---|--:|--:|---|--:|--:|")
    print(f"| solver alone | {span(rates)} | | | {statistics.median(own_cpu(alone) for alone, _ in rounds):.2f} | |")
    met = True
    for depth in depths:
        runs = [(alone, by_depth[depth]) for alone, by_depth in rounds]
        share = statistics.median(run["rate"] / alone["rate"] for alone, run in runs)
        by_cpu = statistics.median(own_cpu(alone) / server_cpu(run) for alone, run in runs)
        met = met and share >= BAR
        print(
            f"| served, {depth} in flight on each of 10 connections | {span([run['rate'] for _, run in runs])} "
            f"| {share:.2f} | >= {BAR} {'met' if share >= BAR else '**missed**'} "
            f"| {statistics.median(server_cpu(run) for _, run in runs):.2f} | {by_cpu:.2f} |"
        )
    return 0 if met else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of each (default 5)")
    parser.add_argument("--duration", type=float, default=2, help="seconds of each run (default 2)")
    parser.add_argument("--depths", default="4,16", help="boards in flight on a connection (default 4,16)")
    parser.add_argument("--drywire", help="an existing binary; by default a release build of this tree")
    options = parser.parse_args()
    if options.repetitions < 1 or options.duration <= 0:
        parser.error("--repetitions and --duration have to be positive")
    require_two_cores(parser)
    return options


def local(drywire, options):
    command = [drywire, "load", "sudoku", "local", "--board", "easy", "--duration", f"{options.duration}s", "--json"]
    pin = lambda: os.sched_setaffinity(0, {SERVER_CORE})
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, preexec_fn=pin)
    return json.loads(run.stdout)["measured"]


def served(drywire, depth, options):
    serve = lambda port: [
        drywire, "serve", "--no-memcache", "--sudoku", f"127.0.0.1:{port}", "-t", "1", "--workers", "0",
    ]  # fmt: skip
    with running(serve) as server:
        return load(
            drywire, server, "sudoku", "pipeline", "--board", "easy", "-c", "10", "-d", str(depth),
            "--duration", f"{options.duration}s",
        )["measured"]  # fmt: skip


def own_cpu(run):
    return 1e6 * run["tool_cpu_seconds"] / run["sent"]


def server_cpu(run):
    return 1e6 * run["server"]["cpu_seconds"] / run["sent"]


def span(values):
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} - {max(values):,.0f})"


if __name__ == "__main__":
    sys.exit(main())
