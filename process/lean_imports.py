"""Load modules without what libraries use only if it is installed."""

from __future__ import annotations

import sys
from typing import Final

_UNNEEDED: Final = ("rich", "click")


def do_without_extras() -> None:
    """Hide rich and click from the libraries that are imported afterwards: both take a tenth of a second or more.

    None of these needs them for our purposes: httpx has its own command line, typer renders markup in help texts,
    structlog draws tracebacks.
    """
    for name in _UNNEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # this value makes an import fail
