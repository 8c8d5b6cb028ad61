"""A packet of a tap as one line for a person: time, from where to where, id, content."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from views.text import one_line


def packet_line(sample: Mapping[str, Any], step: str, *, ascii_only: bool = False) -> str:
    """The line of one sample; what is not printable in it is left out."""
    others = ", ".join(map(str, sample.get("steps") or ())) or "nobody"
    is_out = sample.get("direction") == "out"
    arrow = ("->" if is_out else "<-") if ascii_only else ("→" if is_out else "←")
    parts = [_clock(str(sample.get("at") or "")), step, arrow, others]
    if sample.get("id"):
        parts.append(str(sample["id"]))
    if (kind := str(sample.get("kind") or "")) not in ("", "data"):
        parts.append(f"({kind})")
    if isinstance(frame := sample.get("frame"), Mapping):
        parts.append(f"{frame.get('kind')} {frame.get('media') or ''} {_bytes(frame.get('bytes'))}")
    parts += _content(sample)
    if sample.get("unreadable"):
        parts.append(f"cannot be read: {sample['unreadable']}")
    return one_line(" ".join(parts))


def _content(sample: Mapping[str, Any]) -> list[str]:
    parts = []
    for name in ("payload", "inputs"):
        label = "" if name == "payload" else "inputs "
        if name in sample:
            parts.append(label + json.dumps(sample[name], ensure_ascii=False))
        elif f"{name}Text" in sample:
            parts.append(f"{label}{sample[f'{name}Text']} … {_bytes(sample.get(f'{name}Cut'))} more")
        elif f"{name}Cut" in sample:
            parts.append(f"{label}{_bytes(sample[f'{name}Cut'])}, too large to show")
    return parts


def _clock(at: str) -> str:
    """``12:03:04.123`` of an instant."""
    return at[11:23] if len(at) > 23 else at


def _bytes(count: object) -> str:
    return f"{count:,} bytes" if isinstance(count, int) else "? bytes"
