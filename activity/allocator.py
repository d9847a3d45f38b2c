"""The C library's memory, kept by the process between one layer of a network and the next."""

import ctypes
import sys

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Do not give freed memory back to the system at once, to ask for it again a layer later.

    With the GNU C library's own settings a CNN on a CPU spends a quarter of its time on that: each layer's output is a
    few megabytes, which the system hands out page by page and zeroes. Elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return
    set_option(_M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes; smaller pieces come from the heap
    set_option(_M_TRIM_THRESHOLD, 1 << 30)
    set_option(_M_ARENA_MAX, 1)  # the heaps of further threads are too small for such pieces
