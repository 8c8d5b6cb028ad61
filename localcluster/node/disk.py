"""Messages for a failed file operation of the node: which file, why, and what to do."""

from __future__ import annotations

import errno

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def explain(error: OSError) -> str:
    """One sentence; a disk that is full asks for something else than a directory that cannot be written."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    if error.errno in _FULL:
        return f"{what}; free some disk space; the node tries again"
    return f"{what}; make it readable and writable for the node; the node tries again"
