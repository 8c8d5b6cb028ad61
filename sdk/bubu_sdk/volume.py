"""Where the volumes of the Pod are.

At the paths the Pod says. A local node without mount namespaces cannot put them there: it names a folder in
``BUBU_VOLUME_ROOT`` below which the same paths are found.
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
