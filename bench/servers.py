"""What the benchmarks beside this file share: servers on core 0, the load tool on core 1."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVER_CORE, LOAD_CORE = 0, 1


def require_two_cores(parser):
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the server, one for the load")


def say(text):
    print(text, file=sys.stderr, flush=True)


def build():
    """The path of a release build of this tree."""
    say("building drywire")
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
    """A fresh server on a free port, pinned to its core: yields (address, process id).

    `command` makes the command line from the port.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = command(port)
    server = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMAXPROCS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )
    try:
        for _ in range(100):
            if server.poll() is not None:
                sys.exit(f"{' '.join(command)}: ended with code {server.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        else:
            sys.exit(f"{' '.join(command)}: does not listen")
        yield f"127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def start_load(drywire, server, *arguments):
    """`drywire load` on its own core, under way."""
    address, pid = server
    command = [drywire, "load", *arguments, "--json", "--addr", address, "--pid", str(pid)]
    pin = lambda: os.sched_setaffinity(0, {LOAD_CORE})
    return subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=pin)


def report_of(process, strict=True):
    """What a load reports at its end; if that was not good, this ends too, unless not `strict`."""
    output, _ = process.communicate(timeout=600)
    if not output or (strict and process.returncode != 0):
        sys.exit(f"{' '.join(process.args)}: code {process.returncode}: {output.decode()}")
    return json.loads(output)


def load(drywire, server, *arguments, strict=True):
    return report_of(start_load(drywire, server, *arguments), strict)
