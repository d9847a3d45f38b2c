"""Freed memory stays with the process."""

import subprocess
import sys

import pytest

# Touches 64 pieces of 8 MB one after the other and counts the pages that the system had to hand out for them.
PROGRAM = """
import resource, sys
from activity.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def piece():
    block = bytearray(8 << 20)
    other = bytearray(8 << 20)
    del block, other
piece()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(64):
    piece()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is one of the GNU C library")
def test_memory_once_used_is_not_asked_for_again() -> None:
    def faults(mode: str) -> int:
        return int(subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True).stdout)

    assert faults("kept") < 0.2 * faults("given back")
