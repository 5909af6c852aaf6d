#!/usr/bin/env python3
"""Reads include/drywire.h and writes what is checked against it.

    generate.py symbols      the names of all functions, one a line
    generate.py layout       a C program that prints size, alignment and offsets of every struct
    generate.py misuse       C: each function with each pointer NULL, bad numbers, ended handles
    generate.py panic        C: each function with a panic inside, then the poisoned handle
    generate.py stub         C: each function with nothing inside, for a library with this interface
    generate.py ... HEADER   of another header
"""

import re
import sys
from pathlib import Path

HEADER = Path(sys.argv[2] if __name__ == "__main__" and sys.argv[2:] else Path(__file__).resolve().parents[2] / "include" / "drywire.h")

# Exports that cannot fail: they touch no handle's state and enter no guard.
UNGUARDED = {
    "drywire_version_num", "drywire_version_string", "drywire_abi_version", "drywire_has_feature",
    "drywire_status_name", "drywire_status_is_fatal", "drywire_conn_id",
}
# Pointers that may be NULL, beyond input of length 0 and settings, which are all defaults then.
OPTIONAL = {"drywire_conn_open": {"user"}}
SETTINGS = {"options", "memcached", "custom", "fanout", "sudoku"}
NEEDS_SETTINGS = {"drywire_framer_new"}
# Valid only after another call; misuse.c does that by hand.
SECOND_STEP = {"drywire_conn_input_commit", "drywire_conn_was_shut_down"}
# What a function needs that its types do not tell.
SPECIAL = {
    ("drywire_server_get_memcached_stats", "server"): "f->memcached",
    ("drywire_server_next_work", "server"): "f->sudoku",
    ("drywire_server_complete", "server"): "f->sudoku",
    ("drywire_server_complete", "work"): "f->done_work",
    ("drywire_conn_input_commit", "n"): "0",
    ("drywire_conn_output_consume", "bytes"): "0",
    ("drywire_client_output_consume", "bytes"): "0",
    ("drywire_has_feature", "feature"): "1",
}
# By type and, after the type alone, by name.
VALUES = {
    "drywire_framer *": "f->framer",
    "drywire_server *": "f->server",
    "drywire_conn *": "f->conn",
    "drywire_client *": "f->client",
    "drywire_work *": "f->work",
    "drywire_event *": "f->events",
    "drywire_ready *": "f->ready",
    "drywire_iov *": "f->iov",
    "drywire_backend *": "f->backends",
    "uint64_t *": "f->numbers",
    "uint8_t **": "&f->room",
    "size_t *": None,  # one place for each
    "void *": "f",
    "uint8_t *": None,  # input or output, by name
    "size_t": None,
    "uint64_t": None,
    "uint32_t": "0",
    "int32_t": "0",
}
# Structs of the caller's that begin with their size.
SIZED = re.compile(
    r"drywire_(\w+_(options|stats|info|request|ask)|admission|read_gate|out_gate|patience|heartbeat|phi|"
    r"ping_flood|stall_guard|refusal_window|refusal_pause|drain|throttle|retry) \*")


def declarations():
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", HEADER.read_text(), flags=re.S)
    for match in re.finditer(r"DRYWIRE_API\s+(?:DRYWIRE_WARN_UNUSED\s+)?([^;{]*?)(drywire_\w+)\(([^;]*)\);", text):
        returns, name, arguments = (re.sub(r"\s+", " ", part).strip() for part in match.groups())
        returns = returns.removeprefix("enum ")
        params = []
        for argument in arguments.split(",") if arguments != "void" else []:
            kind, argument = re.match(r"(.*?[\s*])(\w+)$", argument.strip()).groups()
            const = "const" in kind
            kind = re.sub(r"\b(const|struct)\b", "", kind)
            stars = kind.count("*")
            kind = kind.replace("*", "").strip() + (" " + "*" * stars if stars else "")
            params.append((kind, argument, const))
        yield returns, name, params


def structs():
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", HEADER.read_text(), flags=re.S)
    for match in re.finditer(r"typedef struct (\w+) \{(.*?)\} \1;", text, flags=re.S):
        fields = re.findall(r"(\w+)(?:\[\d+\])?;", match[2])
        yield match[1], fields


def valid(name, params):
    values = []
    for position, (kind, argument, const) in enumerate(params):
        value = SPECIAL.get((name, argument))
        if value is None and (made := re.fullmatch(r"drywire_(\w+) \*(\*?)", kind)) and kind not in VALUES:
            value = f"&f->made_{made[1]}" if made[2] else f"&f->{made[1]}"
        elif value is None:
            value = VALUES[kind]
        if value is None and kind == "size_t *":
            value = f"&f->n[{position}]"
        elif value is None and kind == "uint8_t *":
            value = "f->input" if const else "f->output"
        elif value is None and kind == "size_t":
            size = f"sizeof *({values[0]})" if argument == "size" else None
            value = size or {"len": "3", "payload_len": "3", "count": "2", "cap": "4"}[argument]
            if argument == "cap" and params[position - 1][0] == "uint8_t *":
                value = "sizeof f->output"
        elif value is None:
            value = {"now_ns": "7", "id": "f->id", "token": "f->token"}.get(argument, "5")
        values.append(value)
    return values


def call(returns, name, values):
    text = f"{name}({', '.join(values)})"
    if returns == "drywire_status":
        return f"status({text})"
    if returns == "void":
        return f"nothing(({text}, 0))"
    return f"value((uint64_t)(uintptr_t)({text}))" if "*" in returns else f"value((uint64_t)({text}))"


def misuse():
    for returns, name, params in declarations():
        good = valid(name, params)

        def emit(what, values, expect="ANY"):
            print(f'    CASE("{name}: {what}", {expect}, {call(returns, name, values)})')

        if name.endswith("_free"):
            emit("NULL", ["NULL"])
            emit("valid", good)
            print(f"    {good[0]} = NULL;")
            continue
        expect = "NO_MISUSE" if returns == "drywire_status" else "ANY"
        emit("valid", good, "FAILS" if name in SECOND_STEP else expect)
        for position, (kind, argument, const) in enumerate(params):
            bad = list(good)
            if "*" in kind:
                bad[position] = "NULL"
                optional = argument in OPTIONAL.get(name, set()) or (
                    argument in SETTINGS and const and name not in NEEDS_SETTINGS)
                emit(f"{argument} NULL", bad,
                     "NO_MISUSE" if optional else "IS_NULL" if returns == "drywire_status" else "ANY")
                if position + 1 < len(params) and params[position + 1][:2] in (
                        ("size_t", "len"), ("size_t", "cap"), ("size_t", "count")):
                    bad[position + 1] = "0"
                    emit(f"{argument} NULL and 0 of it", bad,
                         "NOT_NULL" if returns == "drywire_status" else "ANY")
                if kind in ("drywire_conn *", "drywire_client *"):
                    over = list(good)
                    over[position] = "f->over" if "conn" in kind else "f->over_client"
                    emit("after its end", over)
            elif argument not in ("now_ns",):
                largest = {"uint32_t": "UINT32_MAX", "int32_t": "INT32_MIN", "uint64_t": "UINT64_MAX"}
                if kind in largest:
                    bad[position] = largest[kind]
                    emit(f"{argument} out of range", bad)
                elif argument in ("len", "cap", "count", "payload_len"):
                    bad[position] = "0"
                    emit(f"{argument} 0", bad)
                    # Only where the pointer is input that must be refused before it is read.
                    if argument in ("len", "count", "payload_len"):
                        bad[position] = "SIZE_MAX"
                        emit(f"{argument} impossible", bad, "FAILS" if argument != "payload_len" else "ANY")
                else:
                    bad[position] = "SIZE_MAX"
                    if argument == "size":
                        bad[position] = "3"
                    emit(f"{argument} out of range", bad,
                         "FAILS" if returns == "drywire_status" else "ANY")
            # An _init function takes the size of what it fills as an argument.
            fills = position == 0 and params[1:2] and params[1][:2] == ("size_t", "size")
            if SIZED.fullmatch(kind) and not fills:
                expect = "IS_ABI" if returns == "drywire_status" else "ANY"
                print("    fresh(f);")
                print(f"    *(uint32_t *)(void *)({good[position]}) = 5;")
                print(f'    CASE_HERE("{name}: {argument} too small", {expect}, {call(returns, name, good)})')


def panic():
    for returns, name, params in declarations():
        if name in UNGUARDED:
            continue
        good = valid(name, params)
        has_handle = any(re.fullmatch(r"drywire_(framer|server|conn|client|work) \*", kind) for kind, *_ in params)
        print("    fresh(f);")
        print("    arm(1);")
        expect = "IS_PANIC" if returns == "drywire_status" else "ANY"
        print(f'    CASE_HERE("{name}: panics", {expect}, {call(returns, name, good)})')
        print(f'    tripped("{name}");')
        if name.endswith("_free"):
            print(f"    {good[0]} = NULL;")
        elif has_handle:
            poisoned = "IS_POISONED" if returns == "drywire_status" else "ANY"
            print(f'    CASE_HERE("{name}: poisoned", {poisoned}, {call(returns, name, good)})')


def layout():
    print('#include "drywire.h"\n#include <stdio.h>\nint main(void) {')
    for name, fields in sorted(structs()):
        print(f'    printf("{name} %zu %zu\\n", sizeof({name}), __alignof__({name}));')
        for field in fields:
            print(f'    printf("{name}.{field} %zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));')
    text = HEADER.read_text()
    for constant in re.findall(r"^#define (DRYWIRE_[A-Z0-9_]+) (?:-?\d+|UINT\d+_MAX)$", text, flags=re.M):
        print(f'    printf("{constant} %llu\\n", (unsigned long long){constant});')
    for constant in re.findall(r"^    (DRYWIRE_\w+) = -?\d+,", text, flags=re.M):
        print(f'    printf("{constant} %d\\n", (int){constant});')
    print("    return 0;\n}")


def stub():
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", HEADER.read_text(), flags=re.S)
    print('#include "drywire.h"')
    for returns, name, arguments in re.findall(
            r"DRYWIRE_API\s+(?:DRYWIRE_WARN_UNUSED\s+)?([^;{]*?)(drywire_\w+)\(([^;]*)\);", text):
        body = "" if returns.strip() == "void" else "return 0;"
        print(f"{returns}{name}({arguments}) {{ {body} }}")


def symbols():
    print("\n".join(sorted(name for _, name, _ in declarations())))


if __name__ == "__main__":
    {"symbols": symbols, "layout": layout, "misuse": misuse, "panic": panic, "stub": stub}[sys.argv[1]]()
