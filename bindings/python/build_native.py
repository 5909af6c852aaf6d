"""Builds drywire._native with cffi in API mode: calls are compiled C, two to three times as fast as
through libffi, and a wrong signature fails the build instead of the program. The library is linked
into the module, so that a wheel needs nothing else.

`make wheel` sets DRYWIRE_LIB; by default it is target/release/libdrywire_ffi.a of this repository.
"""

import os
import re
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = os.environ.get("DRYWIRE_LIB", str(ROOT / "target" / "release" / "libdrywire_ffi.a"))

# A batch in one call and as plain numbers, so that Python makes objects only for payloads:
# start, length, type and kind of event for each frame.
BATCH = """
drywire_status drywire_py_batch(drywire_framer *framer, const uint8_t *data, size_t len,
                                size_t *out, size_t cap, size_t *n, size_t *consumed);
"""
BATCH_SOURCE = """
#include <drywire.h>
static drywire_status drywire_py_batch(drywire_framer *framer, const uint8_t *data, size_t len,
                                       size_t *out, size_t cap, size_t *n, size_t *consumed) {
    drywire_event events[256];
    drywire_status status;
    size_t i;
    status = drywire_framer_decode(framer, data, len, events, cap < 256 ? cap : 256, n, consumed);
    for (i = 0; i < *n; i++) {
        const drywire_event *e = &events[i];
        int frame = e->kind == DRYWIRE_EVENT_FRAME;
        out[4 * i] = !frame ? (size_t)e->num : e->a.len ? (size_t)(e->a.data - data) : 0;
        out[4 * i + 1] = frame ? e->a.len : (size_t)e->id;
        out[4 * i + 2] = e->flags;
        out[4 * i + 3] = e->kind;
    }
    return status;
}
"""


def declarations() -> str:
    """The header without what cffi's parser does not read."""
    text = (ROOT / "include" / "drywire.h").read_text()
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)
    text = re.sub(r"static inline .*?\n}\n", "", text, flags=re.S)
    text = text.replace("DRYWIRE_API", "").replace("DRYWIRE_WARN_UNUSED", "")
    defines = re.findall(r"^#define (DRYWIRE_[A-Z0-9_]+) (?:\d+|UINT\d+_MAX)$", text, re.M)
    text = re.sub(r"^#.*$|^extern \"C\" \{$|^DRYWIRE_ASSERT.*$|^extern int drywire_assert.*$|^\}[ \t]*$", "", text, flags=re.M)
    constants = "\n".join(f"#define {name} ..." for name in dict.fromkeys(defines))
    return f"{constants}\n{text}\n{BATCH}"


builder = FFI()
builder.cdef(declarations())
builder.set_source(
    "drywire._native",
    BATCH_SOURCE,
    include_dirs=[str(ROOT / "include")],
    extra_objects=[LIBRARY],
    libraries=["gcc_s", "util", "rt", "pthread", "m", "dl"],
    py_limited_api=True,
)
