"""A class name has one meaning: no two classes of the operator and its commands have the same name."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = ("core", "webhooks", "reconcilers", "certs", "views", "hub", "manager", "deployment", "embedded", "cli")
ONE_KIND_IN_TWO_VERSIONS: Final = frozenset({"Story", "StorySpec", "Step"})
STATE_AS_STORED_AND_AS_USED: Final = frozenset({"StepState"})
"""The wire model of an entry of ``status.stepStates``, and the engine's record of the same data."""

_CLASS: Final = re.compile(r"^class ([A-Za-z]\w*)", re.MULTILINE)


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for name in _CLASS.findall(path.read_text(encoding="utf-8")):
                places[name].append(path.relative_to(ROOT).as_posix())
    assert len(places) > 100
    twice = {name: found for name, found in places.items() if len(found) > 1}

    assert {name: twice[name] for name in twice.keys() - ONE_KIND_IN_TWO_VERSIONS - STATE_AS_STORED_AND_AS_USED} == {}
