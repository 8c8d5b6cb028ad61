"""What a person needs to know when the disk refuses the node a file: which one, why, and what to do about it."""

from __future__ import annotations

import errno

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def explain(error: OSError) -> str:
    """One sentence; a disk that is full asks for something else than a directory that cannot be written."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    if error.errno in _FULL:
        return f"{what}; free some disk space, it is tried again"
    return f"{what}; make it readable and writable for the node, it is tried again"
