"""JSON field paths in the usual notation: ``spec.steps[2].with.url``, ``spec.secrets["a.b"]``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+")


def render(parts: Iterable[int | str]) -> str:
    """The path of ``parts``: numbers are list positions; keys with dots or blanks are quoted."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def is_within(path: str, parent: str) -> bool:
    """Whether ``path`` is ``parent`` or a field below it; every path is below the empty one."""
    return not parent or path == parent or path.startswith((f"{parent}.", f"{parent}["))
