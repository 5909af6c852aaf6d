#!/usr/bin/env python3
"""drywire's chat and hub beside Debian's nats-server and Redis: deliveries a second, as Markdown.

    bench/fanout.py                    # about two minutes; wants two idle cores
    bench/fanout.py --repetitions 1 --duration 1
    bench/fanout.py --stuck 100 --members 2000 --size 4096 --rate 40 --duration 20
                                       # chat alone, with and without 100 members that read nothing

One publisher, 100 receivers, 64-byte messages, all on 127.0.0.1. Each server runs alone on core 0
(one thread, or GOMAXPROCS=1), `drywire load fanout` on core 1, which checks every byte. The
servers take turns within each repetition; the table shows medians.

Exit code 0 if drywire's chat makes 1.5 times the rate of both, 1 if not, 2 for usage.
"""

import argparse
import statistics
import sys

from servers import build, find, load, require_two_cores, running

BAR = 1.5


def main():
    options = parse_arguments()
    drywire = options.drywire or build()
    serve = [drywire, "serve", "--no-memcache", "-t", "1"]
    servers = {
        "chat": ("drywire chat", lambda port: [*serve, "--chat", f"127.0.0.1:{port}"]),
        "hub": ("drywire hub", lambda port: [*serve, "--hub", f"127.0.0.1:{port}"]),
        "nats": ("nats-server", lambda port: [find("nats-server"), "-a", "127.0.0.1", "-p", str(port)]),
        "redis": (
            "redis-server",
            lambda port: [find("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--save", ""],
        ),
    }
    if options.stuck:
        return stuck(drywire, options)
    rates = {name: [] for name in servers}
    memory = {name: [] for name in servers}
    for repetition in range(options.repetitions):
        # The order changes with each repetition, so that none gets the better moment.
        for name in list(servers)[:: 1 if repetition % 2 == 0 else -1]:
            with running(servers[name][1]) as server:
                report = fan_out(drywire, name, server, options)
            rates[name].append(report["deliveries_per_second"])
            memory[name].append(report["resident_bytes"])
    median = {name: statistics.median(found) for name, found in rates.items()}
    rival = max(median["nats"], median["redis"])
    print("| server | deliveries a second | least - most | beside the faster of the others | resident |")
    print("|---|---:|---:|---:|---:|")
    for name, (title, _) in servers.items():
        least, most = min(rates[name]), max(rates[name])
        resident = statistics.median(memory[name]) / 2**20
        print(
            f"| {title} | {median[name] / 1e6:.2f} M | {least / 1e6:.2f} - {most / 1e6:.2f} M "
            f"| {median[name] / rival:.2f} | {resident:.0f} MiB |"
        )
    return 0 if median["chat"] >= BAR * rival else 1


def stuck(drywire, options):
    """Chat with and without members that read nothing, as Markdown. 1 if the others' p99 suffers."""
    conns = str(options.members + options.stuck + 16)
    serve = [drywire, "serve", "--no-memcache", "-t", "1", "-c", conns, "--chat"]
    print("| members | stuck | message | messages a second | p50 | p99 | most | resident | stuck ones ended |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    p99 = []
    for count in (0, options.stuck):
        with running(lambda port: [*serve, f"127.0.0.1:{port}"]) as server:
            report = fan_out(drywire, "chat", server, options, "--rate", str(options.rate), "--stuck", str(count))
        p99.append(report["p99_us"])
        times = " | ".join(f"{report[key] / 1000:.1f} ms" for key in ("p50_us", "p99_us", "max_us"))
        resident = report["resident_bytes"] / 2**20
        rate = report["messages"] / report["seconds"]
        print(
            f"| {options.members} | {count} | {options.size} B | {rate:.0f} | {times} | {resident:.0f} MiB "
            f"| {report['stuck_ended']} |",
            flush=True,
        )
    return 0 if p99[1] <= 1.5 * p99[0] else 1


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--duration", type=float, default=3, help="seconds of each measurement (default 3)")
    parser.add_argument("--members", type=int, default=100, help="receivers (default 100)")
    parser.add_argument("--size", type=int, default=64, help="bytes of a message (default 64)")
    parser.add_argument("--stuck", type=int, default=0, help="chat alone: further members that read nothing")
    parser.add_argument("--rate", type=int, default=50, help="with --stuck: messages a second (default 50)")
    parser.add_argument("--drywire", help="an existing binary; by default a release build of this tree")
    options = parser.parse_args()
    require_two_cores(parser)
    return options


def fan_out(drywire, protocol, server, options, *more):
    return load(
        drywire, server, "fanout", protocol,
        "--members", str(options.members), "--size", str(options.size), "--duration", f"{options.duration}s", *more,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
