"""The data of an approval, and its limits: plain strings by key, which become the output of the gate step.

Values are not nested, and no key has a meaning for the operator, such as a reference: the data is never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MAX_KEYS: Final = 32
MAX_CHARACTERS: Final = 1024
"""Length of a value."""
KEY_RULE: Final = "up to 63 letters, digits and _, not a digit first"

_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


def is_key(key: str) -> bool:
    """Whether templates can read it as ``steps.<gate>.output.<key>``."""
    return _KEY.fullmatch(key) is not None


def given_data(decision: Mapping[str, Any]) -> dict[str, str]:
    """The ``data`` of an approval; empty for any other decision.

    Entries that admission would refuse are left out: they may have been written while admission was not available.
    """
    data = decision.get("data")
    if decision.get("state") != "Approved" or not isinstance(data, Mapping):
        return {}
    return {key: value for key, value in data.items() if is_key(key) and isinstance(value, str)}
