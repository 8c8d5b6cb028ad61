"""Load modules with less work: without what libraries use only if it is installed, and without garbage collections."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_UNNEEDED: Final = ("rich", "click")
_RARELY: Final = (200_000, 10, 10)
"""As for ``gc.set_threshold``; Python itself has 700, 10 and 10. No process of ours loads as many objects."""


def do_without_extras() -> None:
    """Hide rich and click from the libraries that are imported afterwards: both take a tenth of a second or more.

    None of these needs them for our purposes: httpx has its own command line, typer renders markup in help texts,
    structlog draws tracebacks.
    """
    for name in _UNNEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # this value makes an import fail


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Within the block, visit new objects only after many of them.

    Modules are full of cycles that stay. With Python's own schedule the collector visits these again and again while
    more are loaded, which took an eighth of the time of all imports. A server sets its own schedule when it is ready
    (``process.reclaim``).
    """
    usual = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
