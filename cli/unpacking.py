"""What an installation has besides programs: the examples and the manifests, copied to where a user can work with them.

The copy has the names that the documents use, so that their commands work in the folder above it.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from bobrapet.launch import ROOT
from cli.problem import CommandError


class Part(StrEnum):
    """A folder of the distribution that is made for users."""

    EXAMPLES = "examples"
    MANIFESTS = "manifests"


_NOT_COPIED: Final = frozenset({"__init__.py", "run.py"})
"""They start an example from a checkout, with modules of ours."""


def files_of(part: Part, root: Path = ROOT) -> dict[str, str]:
    """Relative path → text of each file, in order.

    Raises:
        CommandError: this installation has no such folder.
    """
    folder = root / part
    if not folder.is_dir():
        raise CommandError(f"this installation has no {part}", remedy="install the wheel of bobrapet as it is")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = [path for path in found if path.name not in _NOT_COPIED and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in chosen}
