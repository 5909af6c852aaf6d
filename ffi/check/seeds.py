#!/usr/bin/env python3
"""Makes of recorded client connections sequences of calls, as ops.h reads them: seeds for the fuzzer.

    seeds.py FROM TO       folders: fuzz/corpus/memcached_clients, and one to fill
"""

import sys
from pathlib import Path

# The first connection of the memcached server, and no time passes.
OPEN = FEED = bytes([0, 0])
OUTPUT = bytes([2, 0, 7])
CONSUME_ALL = bytes([3, 0, 255])
RESUME = bytes([5, 0])


def calls(stream, settings):
    ops = bytearray([settings]) + OPEN
    for at in range(0, len(stream), 63):
        piece = stream[at : at + 63]
        ops += FEED + bytes([64 + len(piece)]) + piece  # literal bytes, see ops_bytes
        ops += OUTPUT + CONSUME_ALL + RESUME + OUTPUT + CONSUME_ALL
    return ops


source, target = map(Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
for path in sorted(source.iterdir()):
    # Once plain, once with views that are overwritten; eight messages a turn.
    for settings in (14, 15):
        (target / f"{path.name}-{settings}").write_bytes(calls(path.read_bytes(), settings))
