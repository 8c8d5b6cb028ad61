"""The dashboards: the JSON files that Grafana imports. They are edited in ``manifests/observability/dashboards``.

A dashboard has a data source to choose, so it works on every Grafana; it queries plain series only, so it works without
our recording rules. Tests hold every file to this, and to the catalogue of series.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from core.api.objects import Object

FOLDER: Final = PurePosixPath("manifests/observability/dashboards")
_PREFIX: Final = "bobrapet-"
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """``text`` is that of the file ``<uid>.json``; ``document`` is what it says."""

    uid: str
    text: str
    document: Object

    @property
    def file_name(self) -> str:
        return f"{self.uid}.json"

    @property
    def name(self) -> str:
        """Its topic, such as ``runs``."""
        return self.uid.removeprefix(_PREFIX)

    @property
    def panels(self) -> list[Object]:
        """Those with queries: without the titles of rows."""
        return [panel for panel in self.document["panels"] if panel["type"] != "row"]

    @property
    def expressions(self) -> list[str]:
        """The queries of all panels."""
        return [target["expr"] for panel in self.panels for target in panel["targets"]]


@cache
def dashboards() -> tuple[Dashboard, ...]:
    """All of them, ordered by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted((_ROOT / FOLDER).glob("*.json"))}
    return tuple(Dashboard(uid, text, json.loads(text)) for uid, text in texts.items())
