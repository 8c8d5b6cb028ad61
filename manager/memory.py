"""Memory that is given back: how the C library is told to treat large blocks.

Lists of objects come in megabytes and go again, while the text of a large object stays. In one heap the ones leave
holes that the others cannot fill: an operator that held 260 MB of texts had 1.5 GB. Blocks above a fixed size are asked
of the system, and go back to it, one by one.
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
