"""Settings of the C library that make it return large blocks of memory to the system.

Lists of objects take megabytes for a short time, while the text of a large object stays. In one heap, the lists leave
holes that the texts cannot fill: an operator that held 260 MB of texts used 1.5 GB. So each block above a fixed size is
requested from the system, and returned to it, separately.
"""

from __future__ import annotations

import ctypes
from typing import Final

LARGE_BYTES: Final = 100_000
"""More than one read of a socket, which is 64 KiB, and less than the largest status of a step, which is 128 KiB."""
_M_MMAP_THRESHOLD: Final = -3
"""From glibc's malloc.h. Setting it also stops glibc from raising it when large blocks are freed."""


def give_back_large_blocks() -> bool:
    """Apply the setting to this process; False if the C library does not know it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))


def give_back_free_pages() -> bool:
    """Return unused memory inside the heap to the system, once: what the first lists took; False if nothing was."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return False
    return bool(trim(0))
