"""Paths of the Pod's volumes.

They are the paths in the Pod. A local node without mount namespaces cannot mount volumes there: it sets
``BUBU_VOLUME_ROOT`` to a folder that has the same paths below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def mounted(path: str | Path, environ: Mapping[str, str]) -> Path:
    """The place of the Pod's ``path``: below ``BUBU_VOLUME_ROOT`` if it is there, else ``path`` itself."""
    root = environ.get("BUBU_VOLUME_ROOT", "")
    if root:
        below = Path(root) / Path(path).relative_to(Path(path).anchor)
        if below.exists():
            return below
    return Path(path)
