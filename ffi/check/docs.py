#!/usr/bin/env python3
"""Fills docs/c-api.md: examples from snippets.c, the table of functions from include/drywire.h.

    docs.py            says whether the page is up to date (exit 1 if not)
    docs.py --write    brings it up to date
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "c-api.md"
SNIPPETS = (ROOT / "ffi" / "check" / "snippets.c").read_text()
HEADER = (ROOT / "include" / "drywire.h").read_text()


def snippet(name):
    found = re.search(rf"^([ \t]*)/\* \[{name}\] \*/\n(.*?)^[ \t]*/\* \[end\] \*/$", SNIPPETS, re.M | re.S)
    if not found:
        sys.exit(f"docs.py: snippets.c has no part [{name}]")
    return "\n".join(line.removeprefix(found[1]) for line in found[2].rstrip("\n").split("\n"))


def functions():
    pattern = r"((?:^//[^\n]*\n)+)DRYWIRE_API\s+(?:DRYWIRE_WARN_UNUSED\s+)?[^;{]*?(drywire_\w+)\("
    rows = ["| function | what it does | errors |", "|---|---|---|"]
    for comment, name in sorted(re.findall(pattern, HEADER, re.M), key=lambda row: row[1]):
        text = re.sub(r"^// ?", "", comment, flags=re.M)
        what, _, rest = text.partition("\n\n")
        errors = re.search(r"Errors(?:, nothing is sent then)?: (.*?)(?:\n\n|\Z)", text, re.S)
        first = re.split(r"(?<=[.;:])\s", " ".join(what.split()))[0].rstrip(":;")
        codes = dict.fromkeys(re.findall(r"DRYWIRE_ERR_(\w+)|as `(drywire_\w+)`", errors[1])) if errors else {}
        told = ", ".join(code or f"as `{other}`" for code, other in codes) or "none"
        rows.append(f"| `{name}` | {first} | {told} |".replace("||", "\\|\\|"))
    return "\n".join(rows)


def fill(page):
    page = re.sub(r"(<!-- snippet (\w+) -->\n```c\n).*?(\n```)",
                  lambda m: m[1] + snippet(m[2]) + m[3], page, flags=re.S)
    return re.sub(r"(<!-- functions -->\n).*?(\n<!-- end -->)",
                  lambda m: m[1] + functions() + m[2], page, flags=re.S)


old = PAGE.read_text()
new = fill(old)
if sys.argv[1:] == ["--write"]:
    PAGE.write_text(new)
elif old != new:
    sys.exit("docs.py: docs/c-api.md is not up to date: ffi/check/docs.py --write")
