"""Paths of the Pod's volumes.

These are paths in the Pod. A local node without mount namespaces cannot mount volumes there. It sets
``BUBU_VOLUME_ROOT`` to a folder with the same paths in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def mounted(path: str | Path, environ: Mapping[str, str]) -> Path:
    """The location of the Pod's ``path``: in ``BUBU_VOLUME_ROOT`` if it exists there, otherwise ``path`` itself."""
    root = environ.get("BUBU_VOLUME_ROOT", "")
    if root:
        below = Path(root) / Path(path).relative_to(Path(path).anchor)
        if below.exists():
            return below
    return Path(path)
