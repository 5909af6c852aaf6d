#!/usr/bin/env python3
"""Compares include/drywire.h with the headers of earlier days in ffi/abi: what was there must be there still.

    abi.py WORK      WORK is a folder for it all

Of both headers a library of empty functions is made, and abidiff (abigail-tools) compares the two: the
functions, their arguments, all types and values. (The Rust library itself would not do: its debug
information is about Rust's types, private ones too.) Functions may be added, and structs that begin with
struct_size may get longer at their end; nothing else may change. Then the programs of that day are compiled
against its header and its empty library, into WORK/DAY/bin, to be run on the library of today.
Exit code 0 if it fits, 1 if not.
"""

import subprocess
import sys
from pathlib import Path

from generate import HEADER

ROOT = Path(__file__).resolve().parents[2]
GENERATE = ROOT / "ffi" / "check" / "generate.py"
PROGRAMS = {"memcached": ["memcached.c", "epoll_loop.c"], "client": ["client.c"], "reframe": ["reframe.c"]}


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def library(header, folder):
    """A library with this header's interface and nothing inside, and the layout of its structs."""
    folder.mkdir(parents=True, exist_ok=True)
    for what in ("stub", "layout"):
        (folder / f"{what}.c").write_text(run(sys.executable, GENERATE, what, header))
    include = f"-I{header.parent}"
    run("gcc", "-g", "-w", "-fPIC", "-shared", "-Wl,-soname,libdrywire.so.0.1", include, folder / "stub.c",
        "-o", folder / "libdrywire.so")  # fmt: skip
    run("gcc", include, folder / "layout.c", "-o", folder / "layout")
    lines = (line.split() for line in run(folder / "layout").splitlines())
    return folder / "libdrywire.so", {name: values for name, *values in lines}


def moved(old, new):
    """What is not where or what it was."""
    for name, values in old.items():
        grows = f"{name}.struct_size" in old and name in new and values[1:] == new[name][1:] and int(values[0]) <= int(new[name][0])
        if new.get(name) != values and not grows:
            yield f"{name}: {' '.join(values)} is now {' '.join(new.get(name, ['gone']))}"


def main():
    work = Path(sys.argv[1])
    today, layout = library(HEADER, work / "today")
    days = sorted(path.parent for path in (ROOT / "ffi" / "abi").glob("*/drywire.h"))
    for day in days:
        theirs, old_layout = library(day / "drywire.h", work / day.name)
        report = subprocess.run(
            ["abidiff", "--no-added-syms", "--suppr", ROOT / "ffi" / "abi" / "allowed.suppr", theirs, today],
            stdout=subprocess.PIPE, text=True)  # fmt: skip
        wrong = list(moved(old_layout, layout))
        if report.returncode != 0 or wrong:
            sys.exit(f"abi.py: {day.name} and today\n{report.stdout}" + "\n".join(wrong))
        (work / day.name / "bin").mkdir(exist_ok=True)
        for name, sources in PROGRAMS.items():
            run("gcc", "-std=c11", "-O2", f"-I{day}", *(day / source for source in sources), theirs,
                "-o", work / day.name / "bin" / name)  # fmt: skip
        functions = len(run(sys.executable, GENERATE, "symbols", day / "drywire.h").splitlines())
        print(f"{day.name}: {functions} functions and {len(old_layout)} sizes, offsets and values are as they were")


main()
