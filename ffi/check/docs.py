#!/usr/bin/env python3
"""Fills docs/c-api.md: examples from snippets.c, the table of functions from include/drywire.h.

    docs.py            says whether the page is up to date (exit 1 if not)
    docs.py --write    brings it up to date
"""

import re
import sys
from pathlib import Path

from generate import declarations

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "c-api.md"
SNIPPETS = (ROOT / "ffi" / "check" / "snippets.c").read_text()
HEADER = (ROOT / "include" / "drywire.h").read_text()


def snippet(name):
    found = re.search(rf"^([ \t]*)/\* \[{name}\] \*/\n(.*?)^[ \t]*/\* \[end\] \*/$", SNIPPETS, re.M | re.S)
    if not found:
        sys.exit(f"docs.py: snippets.c has no part [{name}]")
    return "\n".join(line.removeprefix(found[1]) for line in found[2].rstrip("\n").split("\n"))


def comments():
    """What the header says right before each function."""
    pattern = r"((?:^///[^\n]*\n)*)DRYWIRE_API\s+(?:DRYWIRE_WARN_UNUSED\s+)?[^;{]*?(drywire_\w+)\("
    return {name: re.sub(r"^/// ?", "", comment, flags=re.M) for comment, name in re.findall(pattern, HEADER, re.M)}


# Where the table of borrowed memory at the top of the header speaks of what a function lends.
LENDS = {
    "drywire_framer_decode": "drywire_event.a, .b of _framer_decode",
    "drywire_server_poll": "drywire_event.a, .b of _server_poll",
    "drywire_client_poll": "drywire_event.a, .b of _client_poll",
    "drywire_conn_input_reserve": "room of _input_reserve",
    "drywire_conn_output": "segments of _output",
    "drywire_client_output": "segments of _output",
    "drywire_status_name": "text of _status_name, _version_string",
    "drywire_version_string": "text of _status_name, _version_string",
}
LAST_ERROR = "drywire_error_info.text"
# The caller's own pointer, given back.
GIVES_BACK = {"drywire_conn_user"}


def lent(name, returns, params):
    """How long what it hands out stays good, in the words of the header; empty if it lends nothing."""
    lends = "*" in returns or any(
        not const and kind in ("drywire_event *", "drywire_iov *", "uint8_t **") for kind, _, const in params)
    if lends != (name in LENDS) and name not in GIVES_BACK:
        sys.exit(f"docs.py: {name} lends memory or does not: LENDS is wrong about it")
    row = LENDS.get(name) or (LAST_ERROR if any(kind == "drywire_error_info *" for kind, *_ in params) else None)
    if row is None:
        return ""
    top = HEADER[: HEADER.index("*/")]
    found = re.search(rf"^ \*   {re.escape(row)} +(\S.*(?:\n \*    +\S.*)*)", top, re.M)
    if not found:
        sys.exit(f"docs.py: the top of the header does not say how long `{row}` is good")
    return re.sub(r"\n \* +", " ", found[1])


def owned(name, params, text):
    """Whose what is afterwards: handles made and freed, memory copied or filled."""
    made = [kind.removesuffix(" **") for kind, *_ in params if kind.startswith("drywire_") and kind.endswith("**")]
    if name.endswith("_free"):
        return "ends the handle"
    if made:
        if f"`{made[0]}_free`" not in text and not re.search(r"[Oo]therwise as `|as `drywire_\w+_new`", text):
            sys.exit(f"docs.py: the header does not say how to free what {name} makes")
        return f"the handle is yours, until `{made[0]}_free`"
    if any(const and "*" in kind and kind.removesuffix(" *") not in HANDLES for kind, _, const in params):
        return "what is passed stays yours" + ("" if name in POINTS_INTO else ", and is copied")
    return "" if not params else "keeps nothing"


HANDLES = {"drywire_framer", "drywire_server", "drywire_conn", "drywire_client", "drywire_work"}
POINTS_INTO = {"drywire_framer_decode"}
# Said once in the header, at each of these types.
TOGETHER = {"drywire_server": "with its connections", "drywire_conn": "with its server"}


def threads(params):
    """Who may call it at the same time: any thread always, but one call at a time where there is state."""
    kinds = [kind.rstrip(" *") for kind, *_ in params]
    for kind in kinds:
        if kind in HANDLES:
            said = re.search(rf"((?:^///[^\n]*\n)+)typedef struct {kind} {kind};", HEADER, re.M)
            if not said or not re.search(r"at a time|any\s+///? ?thread|any thread|one is used", re.sub(r"\n/// ?", " ", said[1])):
                sys.exit(f"docs.py: the header does not say what threads may do with {kind}")
            return "one call at a time" + (f", {TOGETHER[kind]}" if kind in TOGETHER else "")
    return "any; its arguments are yours" if any("*" in kind for kind, *_ in params) else "any"


def functions():
    rows = ["| function | what it does | whose | what it lends is good until | threads | errors |", "|---|---|---|---|---|---|"]
    said = comments()
    for returns, name, params in sorted(declarations(), key=lambda row: row[1]):
        text = said[name]
        what, _, _ = text.partition("\n\n")
        errors = re.search(r"Errors(?:, nothing is sent then)?: (.*?)(?:\n\n|\Z)", text, re.S)
        first = re.split(r"(?<=[.;:])\s", " ".join(what.split()))[0].rstrip(":;")
        codes = dict.fromkeys(re.findall(r"DRYWIRE_ERR_(\w+)|as `(drywire_\w+)`", errors[1])) if errors else {}
        told = ", ".join(code or f"as `{other}`" for code, other in codes) or "none"
        cells = (f"`{name}`", first, owned(name, params, text), lent(name, returns, params), threads(params), told)
        rows.append("| " + " | ".join(cells).replace("||", "\\|\\|") + " |")
    return "\n".join(rows)


def untold():
    """Functions without a word, or with a status and no word about what it can be."""
    said = comments()
    found = list(declarations())
    assert len(found) > 100 and len(found) == len(said), "the header is not read as it should be"
    return [name for returns, name, _ in found
            if not said[name] or ("drywire_status" in returns and "Errors" not in said[name])]


def fill(page):
    page = re.sub(r"(<!-- snippet (\w+) -->\n```c\n).*?(\n```\n)",
                  lambda m: m[1] + snippet(m[2]) + m[3], page, flags=re.S)
    return re.sub(r"(<!-- functions -->\n).*?(\n<!-- end -->)",
                  lambda m: m[1] + functions() + m[2], page, flags=re.S)


if missing := untold():
    sys.exit(f"docs.py: include/drywire.h does not say what these do or how they fail: {', '.join(missing)}")
old = PAGE.read_text()
if missing := [name for name in re.findall(r"/\* \[(\w+)\] \*/", SNIPPETS)
               if name != "end" and f"<!-- snippet {name} -->" not in old]:
    sys.exit(f"docs.py: docs/c-api.md does not show these parts of snippets.c: {', '.join(missing)}")
new = fill(old)
if sys.argv[1:] == ["--write"]:
    PAGE.write_text(new)
elif old != new:
    sys.exit("docs.py: docs/c-api.md is not up to date: ffi/check/docs.py --write")
