"""Name each topic by the words that are frequent in it and rare elsewhere, and by its most typical paragraph."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bubu_sdk import Context, engram

_WORD = re.compile(r"[a-z]{4,}")
_LABEL_WORDS = 4
_EXAMPLE_CHARACTERS = 240
_PLAIN = frozenset(
    """
    also always because been before between both cannot does each from have here into itself less like many more most
    must never only other over same some such than that their them then there these they this those under until what
    when where which while will with without would your
    """.split()  # noqa: SIM905 - a list of words reads better without quotes
)


@dataclass
class Inputs:
    texts: Path
    topics: Path


@engram
def main(ctx: Context, inputs: Inputs) -> dict[str, object]:
    texts = [json.loads(line) for line in inputs.texts.read_text(encoding="utf-8").splitlines()]
    grouped = json.loads(inputs.topics.read_text(encoding="utf-8"))
    return {"labels": labels(texts, grouped["group"], grouped["nearness"])}


def labels(texts: list[dict[str, str]], groups: list[int], nearness: list[float]) -> list[dict[str, Any]]:
    """For each topic: its words, its size, its most typical paragraph."""
    counts = {topic: Counter[str]() for topic in sorted(set(groups))}
    for text, topic in zip(texts, groups, strict=True):
        counts[topic].update(set(_WORD.findall(text["text"].lower())) - _PLAIN)
    spread = Counter(word for words in counts.values() for word, count in words.items() if count > 1)
    found = []
    for topic, words in counts.items():
        weight = {word: count * math.log(len(counts) / max(spread[word], 1)) ** 2 for word, count in words.items()}
        best = sorted(weight, key=lambda word: (-weight[word], word))[:_LABEL_WORDS]
        typical = max(
            (index for index, group in enumerate(groups) if group == topic), key=lambda index: nearness[index]
        )
        example = texts[typical]["text"]
        if len(example) > _EXAMPLE_CHARACTERS:
            example = f"{example[:_EXAMPLE_CHARACTERS].rpartition(' ')[0]} …"
        found.append(
            {"label": ", ".join(best), "size": groups.count(topic), "file": texts[typical]["file"], "example": example}
        )
    return found


if __name__ == "__main__":
    main.run()
