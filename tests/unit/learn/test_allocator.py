"""Freed memory is kept where the C library can be told so."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import platform, sys
from chiploop.learn.allocator import keep_freed_memory
heeded = keep_freed_memory()
assert heeded == keep_freed_memory()  # asking again is no harm
assert heeded or platform.libc_ver()[0] != "glibc"
block = bytearray(200_000_000)
del block
print(heeded)
"""


def test_the_c_library_heeds_where_it_is_glibc() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("True", "False")
