#!/usr/bin/env python3
"""Runs doxygen on include/drywire.h: no warning, and every function, struct, field and constant is described.

    doxygen.py      needs doxygen; makes target/doxygen/html. Exit code 0 if all is well, 1 if not
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from generate import declarations, structs

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / "target" / "doxygen"


def described(node):
    return any("".join(node.find(part).itertext()).strip() for part in ("briefdescription", "detaileddescription"))


MADE.mkdir(parents=True, exist_ok=True)
run = subprocess.run(["doxygen", "ffi/check/Doxyfile"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
if run.returncode != 0 or run.stderr.strip():
    sys.exit(f"doxygen.py: doxygen says\n{run.stderr}")

found, bare, signatures = set(), [], 0
for path in (MADE / "xml").glob("*.xml"):
    tree = ET.parse(path)
    for node in tree.iter("compounddef"):
        if node.get("kind") == "struct":
            found.add(node.findtext("compoundname"))
            bare += [] if described(node) else [node.findtext("compoundname")]
    for node in [*tree.iter("memberdef"), *tree.iter("enumvalue")]:
        name = node.findtext("name")
        found.add(name)
        signatures += node.get("kind") == "function" and name.startswith("drywire_")
        internal = not name.startswith(("drywire_", "DRYWIRE_")) and node.get("kind") != "variable"
        # A struct's own typedef, and what the header's macros are made of.
        if not internal and not described(node) and node.get("kind") != "typedef":
            bare.append(name)
macros = {"DRYWIRE_H", "DRYWIRE_API", "DRYWIRE_WARN_UNUSED", "DRYWIRE_DEPRECATED", "DRYWIRE_ASSERT"}
if bare := sorted(set(bare) - macros):
    sys.exit(f"doxygen.py: not described: {', '.join(bare)}")
wanted = {name for _, name, _ in declarations()} | {name for name, _ in structs()}
if missing := sorted(wanted - found):
    sys.exit(f"doxygen.py: doxygen does not see {', '.join(missing)}")
print(f"doxygen: {signatures} functions and {len(list(structs()))} structs described, no warning")
