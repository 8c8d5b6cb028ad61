"""Two Engrams in Python: one makes large data, one measures what it gets."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bubu_sdk import Context, engram


@dataclass
class Wanted:
    size: int = 0
    letter: str = "x"


@dataclass
class Given:
    text: str = ""


@engram
def make(ctx: Context, inputs: Wanted) -> dict[str, object]:
    return {"text": inputs.letter * inputs.size, "rows": [{"n": number} for number in range(500)]}


@engram
def measure(ctx: Context, inputs: Given) -> dict[str, object]:
    return {"length": len(inputs.text), "letter": inputs.text[:1]}


if __name__ == "__main__":
    {"make": make, "measure": measure}[sys.argv[1]].run()
