"""The names in an expression of PromQL. Not a parser: our own expressions have no name in a string or as a label value.

The tests compare with a parser.
"""

from __future__ import annotations

import re
from typing import Final

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME: Final = re.compile(r"(?<![\w:$])[a-z][a-z0-9]*(?:[_:][a-z0-9_:]+)+(?![\w:]*\s*\()")
_LABELS: Final = re.compile(r"\b(?:by|on|ignoring|group_left)\s*\([^)]*\)")


def names_in(expression: str) -> frozenset[str]:
    """Names of series: words with an underscore that are no label in a list and no function."""
    return frozenset(_NAME.findall(_LABELS.sub("", _STRING.sub('""', expression))))
