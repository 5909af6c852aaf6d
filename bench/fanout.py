#!/usr/bin/env python3
"""drywire's chat and hub beside Debian's nats-server and Redis: deliveries a second, as Markdown.

    bench/fanout.py                    # about two minutes; wants two idle cores
    bench/fanout.py --repetitions 1 --duration 1

One publisher, 100 receivers, 64-byte messages, all on 127.0.0.1. Each server runs alone on core 0
(one thread, or GOMAXPROCS=1), `drywire load fanout` on core 1, which checks every byte. The
servers take turns within each repetition; the table shows medians.

Exit code 0 if drywire's chat makes 1.5 times the rate of both, 1 if not, 2 for usage.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1
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
    rates = {name: [] for name in servers}
    memory = {name: [] for name in servers}
    for repetition in range(options.repetitions):
        # The order changes with each repetition, so that none gets the better moment.
        for name in list(servers)[:: 1 if repetition % 2 == 0 else -1]:
            with running(servers[name][1]) as (port, pid):
                report = load(drywire, name, port, pid, options)
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


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--duration", type=float, default=3, help="seconds of each measurement (default 3)")
    parser.add_argument("--members", type=int, default=100, help="receivers (default 100)")
    parser.add_argument("--size", type=int, default=64, help="bytes of a message (default 64)")
    parser.add_argument("--drywire", help="an existing binary; by default a release build of this tree")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the server, one for the load")
    return options


def build():
    subprocess.run(["cargo", "build", "--release", "--package", "drywire-cli"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "drywire")


def find(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if path is None:
        sys.exit(f"{program} is not installed: apt-get install {program}")
    return path


@contextlib.contextmanager
def running(command):
    """A fresh server on a free port, pinned to its core: yields (port, process id)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        command(port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMAXPROCS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        else:
            sys.exit(f"{command(port)}: does not listen")
        yield port, server.pid
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def load(drywire, protocol, port, pid, options):
    command = [
        drywire, "load", "fanout", protocol, "--json", "--addr", f"127.0.0.1:{port}", "--pid", str(pid),
        "--members", str(options.members), "--size", str(options.size), "--duration", f"{options.duration}s",
    ]  # fmt: skip
    pin = lambda: os.sched_setaffinity(0, {LOAD_CORE})
    done = subprocess.run(command, stdout=subprocess.PIPE, preexec_fn=pin, timeout=300)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: code {done.returncode}: {done.stdout.decode()}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
