"""Messages for a failed file operation of the node: which file, why, and what to do about it."""

from __future__ import annotations

import errno

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def explain(error: OSError) -> str:
    """The message for ``error``; a full disk and an unwritable directory need different remedies."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    if error.errno in _FULL:
        return f"{what}; free some disk space; the node tries again"
    return f"{what}; make it readable and writable for the node; the node tries again"
