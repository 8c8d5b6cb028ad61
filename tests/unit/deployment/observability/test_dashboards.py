"""The dashboards as Grafana gets them, and as people read them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from core.api.objects import Object
from deployment.observability.board import COLUMNS, Dashboard, to_json
from deployment.observability.files import BOARDS, DASHBOARDS
from tests.e2e.observability.drawing import PANELS_KEYWORD

ROOT: Final = Path(__file__).parents[4]
PAGE: Final = (ROOT / "docs/monitoring.md").read_text()
TOPICS: Final = ("runs", "queues", "latency", "write-budget", "admission", "certificates", "streams", "operator")


def panels(board: Dashboard) -> list[Object]:
    found: list[Object] = to_json(board)["panels"]
    return found


def test_there_is_one_for_each_topic() -> None:
    assert sorted(board.name for board in BOARDS) == sorted(TOPICS)
    assert len({board.uid for board in BOARDS}) == len({board.title for board in BOARDS}) == len(TOPICS)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_have_places_of_their_own(board: Dashboard) -> None:
    def overlap(one: Any, other: Any) -> bool:
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        return not beside and not (a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"])

    found = panels(board)
    assert len({panel["id"] for panel in found}) == len(found)
    assert [panel["title"] for panel in found if panel["gridPos"]["x"] + panel["gridPos"]["w"] > COLUMNS] == []
    assert [(one["title"], other["title"]) for one, other in combinations(found, 2) if overlap(one, other)] == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_reader_chooses_the_data_source_and_every_panel_uses_it(board: Dashboard) -> None:
    document = to_json(board)
    variables = {each["name"] for each in document["templating"]["list"]}
    queries = json.dumps([panel.get("targets") for panel in document["panels"]])

    assert "datasource" in variables
    sources = {
        each["datasource"]["uid"]
        for panel in document["panels"]
        for each in (panel, *panel.get("targets", ()))
        if panel["type"] != "row"
    }
    assert sources == {"${datasource}"}
    assert ("$namespace" in queries) == ("namespace" in variables)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_panel_says_what_it_shows(board: Dashboard) -> None:
    found = [panel for row in board.rows for panel in row.panels]

    assert [panel.title for panel in found if not panel.description.endswith(".")] == []
    assert len({panel.title for panel in found}) == len(found)


def test_the_page_shows_every_dashboard() -> None:
    missing = [board.uid for board in BOARDS if f"dashboards/{board.uid}.json" not in PAGE]

    assert missing == []
    assert [board.name for board in BOARDS if f"](pictures/{board.name}.png)" not in PAGE] == []


def test_pictures_are_small() -> None:
    assert [board.name for board in BOARDS if (ROOT / f"docs/pictures/{board.name}.png").stat().st_size > 150_000] == []


def test_the_files_are_json() -> None:
    for board in BOARDS:
        assert json.loads((ROOT / DASHBOARDS / f"{board.uid}.json").read_text())["uid"] == board.uid


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_picture_shows_the_panels_of_the_dashboard(board: Dashboard) -> None:
    """It says itself which ones it shows. After a change: ``python -m tests.e2e.observability.pictures``."""
    with Image.open(ROOT / f"docs/pictures/{board.name}.png") as picture:
        shown = picture.info.get(PANELS_KEYWORD, "").splitlines()

    assert shown == [panel["title"] for panel in panels(board)]
