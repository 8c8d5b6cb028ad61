"""``$(NAME)`` in commands and environment values, exactly as Kubernetes expands it. Pure.

``$$`` is a literal ``$``; a name nobody defined, and an unclosed ``$(``, stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with every reference to one of ``variables`` replaced."""

    def value(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(value, text) if "$" in text else text
