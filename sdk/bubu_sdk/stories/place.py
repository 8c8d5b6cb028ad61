"""Where in the user's file something is written, and the error that names the place."""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NOT_THE_USERS: Final = (str(Path(__file__).resolve().parents[1]), contextlib.__file__, functools.__file__)
"""This package, and what of Python calls its blocks and properties."""


@dataclass(frozen=True)
class Written:
    """A line of a Python file, and the function around it."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        path, folder = Path(self.file), Path.cwd()
        shown = path.relative_to(folder) if path.is_relative_to(folder) else path
        return f"{shown}:{self.line} in {self.function}"


class StoryBuildError(Exception):
    """A Story cannot be built from its function; the text starts with the place in the user's file."""

    def __init__(self, message: str, place: Written | None = None) -> None:
        super().__init__(message if place is None else f"{place}: {message}")
        self.message = message


def here() -> Written:
    """The innermost line of the user."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    return Written(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def refusal(message: str) -> StoryBuildError:
    """The error for the line that is executed at the moment."""
    return StoryBuildError(message, here())
