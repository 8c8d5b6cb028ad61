"""What a Python file with Stories describes, and how such a file is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.api.objects import Object

PYTHON_SUFFIX: Final = ".py"


@dataclass(frozen=True, slots=True)
class BuiltDocument:
    """One document that a Python file describes.

    Attributes:
        text: the document as YAML.
        file: where its function is.
        lines: lines of that file by field path; that of the function has the empty path.
    """

    document: Object
    text: str
    file: str
    lines: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A Python file and what it describes."""

    path: Path
    documents: tuple[BuiltDocument, ...]

    @property
    def images(self) -> list[str]:
        """The images of its engrams; in all of them, the file is the program."""
        templates = (each.document for each in self.documents if each.document["kind"] == "EngramTemplate")
        return sorted({str(template["spec"]["image"]) for template in templates})


def is_python(file: str) -> bool:
    """Whether the name is that of a Python file."""
    return file.endswith(PYTHON_SUFFIX)
