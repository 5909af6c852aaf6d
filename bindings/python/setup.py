"""The version comes from Cargo.toml, the native module from build_native.py."""

import re
from pathlib import Path

from setuptools import setup

manifest = Path(__file__).resolve().parents[2] / "Cargo.toml"
version = re.search(r'^version = "(.*)"', manifest.read_text(), re.M)[1]
setup(version=version, cffi_modules=["build_native.py:builder"])
