"""Names of Kubernetes objects for Python functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Final

MAX_CHARACTERS: Final = 63
ENTRY: Final = "main"
"""A function with this name stands for its file."""

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def name_of(function: Callable[..., Any]) -> str:
    """``count_words`` is ``count-words``; ``main`` has the name of its file.

    Raises:
        ValueError: the function has no name that an object can have.
    """
    code = getattr(function, "__code__", None)
    written = str(getattr(function, "__name__", type(function).__name__))
    if written == ENTRY and code is not None:
        written = PurePath(code.co_filename).stem
    return checked(written.strip("_").replace("_", "-").lower())


def checked(name: str) -> str:
    """``name``, if an object can have it.

    Raises:
        ValueError: it is not a DNS label; the message has the remedy.
    """
    if len(name) > MAX_CHARACTERS or not _LABEL.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be the name of an object: use at most {MAX_CHARACTERS} lower-case letters, digits and "
            'dashes, for example name="count-words"'
        )
    return name
