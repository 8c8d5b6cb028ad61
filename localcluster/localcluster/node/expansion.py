"""``$(NAME)`` in commands and environment values, expanded exactly as Kubernetes does it. Pure.

``$$`` is a literal ``$``. A name without a variable, and an unclosed ``$(``, stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``text``, in which the value of a variable replaces each reference to it."""

    def value(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(value, text) if "$" in text else text
