"""Settings of the C library that make it return large blocks of memory to the system.

Lists of objects take megabytes for a short time, while the text of a large object stays. In one heap, the lists leave
holes that the texts cannot fill: an operator that held 260 MB of texts used 1.5 GB. So each block above a fixed size is
requested from the system, and returned to it, separately.
"""

from __future__ import annotations

import ctypes
from typing import Final

LARGE_BYTES: Final = 100_000
"""Above what is read of a socket at once, which is 64 KiB, and below the largest status of a step, which is 128 KiB."""
_M_MMAP_THRESHOLD: Final = -3
"""Of glibc's malloc.h. To set it also ends its own growth with what was freed before."""


def give_back_large_blocks() -> bool:
    """From now on, in this process; False where the C library knows no such setting."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
