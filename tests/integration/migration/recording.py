"""A recording: the objects that the Go operator left when it was killed, and when that was.

As JSON: ``note`` (what was happening), ``recordedAt``, ``objects``. The name of the file is the namespace.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from bubu_contract.instants import format_instant, format_precise_instant, parse_instant
from core.api.objects import Object

DIRECTORY: Final = Path(__file__).parent / "recordings"
NAMES: Final = sorted(path.stem for path in DIRECTORY.glob("*.json"))
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True, slots=True)
class Recording:
    name: str
    note: str
    recorded_at: datetime
    text: str
    """The objects as JSON."""

    @property
    def objects(self) -> list[Object]:
        found: list[Object] = json.loads(self.text)
        return found

    def moved_to(self, now: datetime) -> Recording:
        """The same as if it had been recorded now: every instant in it moves by the same whole number of seconds."""
        by = timedelta(seconds=round((now - self.recorded_at).total_seconds()))

        def moved(found: re.Match[str]) -> str:
            instant = parse_instant(found[0]) + by
            return format_precise_instant(instant) if found[1] else format_instant(instant)

        return Recording(self.name, self.note, self.recorded_at + by, _INSTANT.sub(moved, self.text))


@cache
def recording(name: str) -> Recording:
    contents = json.loads((DIRECTORY / f"{name}.json").read_text())
    recorded_at = datetime.fromisoformat(contents["recordedAt"]).astimezone(UTC)
    return Recording(name, contents["note"], recorded_at, json.dumps(contents["objects"]))
