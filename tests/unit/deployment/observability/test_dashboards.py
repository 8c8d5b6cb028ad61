"""The dashboards as Grafana gets them, and as people read them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from core.api.objects import Object
from deployment.observability.dashboards import Dashboard, dashboards
from tests.e2e.observability.drawing import PANELS_KEYWORD

ROOT: Final = Path(__file__).parents[4]
PAGE: Final = (ROOT / "docs/monitoring.md").read_text()
BOARDS: Final = dashboards()
COLUMNS: Final = 24
TOPICS: Final = ("runs", "queues", "latency", "write-budget", "admission", "certificates", "streams", "operator")


def test_there_is_one_for_each_topic() -> None:
    assert sorted(board.name for board in BOARDS) == sorted(TOPICS)
    assert len({board.document["title"] for board in BOARDS}) == len(TOPICS)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_dashboard_is_found_by_its_uid_and_by_the_tag_to_which_all_link(board: Dashboard) -> None:
    assert board.document["uid"] == board.uid
    assert board.document["tags"] == ["bobrapet"]
    assert [link["tags"] for link in board.document["links"]] == [["bobrapet"]]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_file_is_laid_out_so_that_a_change_of_a_panel_changes_its_lines_only(board: Dashboard) -> None:
    """After an export from Grafana: ``json.dumps(…, indent=1, ensure_ascii=False)``, and a line break at the end."""
    assert board.text == json.dumps(board.document, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_have_places_of_their_own(board: Dashboard) -> None:
    def overlap(one: Any, other: Any) -> bool:
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        return not beside and not (a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"])

    found: list[Object] = board.document["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    assert [panel["title"] for panel in found if panel["gridPos"]["x"] + panel["gridPos"]["w"] > COLUMNS] == []
    assert [(one["title"], other["title"]) for one, other in combinations(found, 2) if overlap(one, other)] == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_reader_chooses_the_data_source_and_every_panel_uses_it(board: Dashboard) -> None:
    variables = {each["name"] for each in board.document["templating"]["list"]}
    queries = "\n".join(board.expressions)

    assert "datasource" in variables
    sources = {each["datasource"]["uid"] for panel in board.panels for each in (panel, *panel["targets"])}
    assert sources == {"${datasource}"}
    assert ("$namespace" in queries) == ("namespace" in variables)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_panel_says_what_it_shows(board: Dashboard) -> None:
    assert [panel["title"] for panel in board.panels if not panel["description"].endswith(".")] == []
    assert len({panel["title"] for panel in board.panels}) == len(board.panels)


def test_a_phase_or_decision_has_the_same_colour_on_every_dashboard() -> None:
    overrides = [each for board in BOARDS for panel in board.panels for each in panel["fieldConfig"]["overrides"]]
    colours: dict[str, set[str]] = {}
    for override in overrides:
        (colour,) = override["properties"]
        colours.setdefault(override["matcher"]["options"], set()).add(colour["value"]["fixedColor"])

    assert {"Succeeded", "Failed", "denied"} <= colours.keys()
    assert [name for name, found in colours.items() if len(found) > 1] == []


def test_the_page_shows_every_dashboard() -> None:
    missing = [board.uid for board in BOARDS if f"dashboards/{board.uid}.json" not in PAGE]

    assert missing == []
    assert [board.name for board in BOARDS if f"](pictures/{board.name}.png)" not in PAGE] == []


def test_pictures_are_small() -> None:
    assert [board.name for board in BOARDS if (ROOT / f"docs/pictures/{board.name}.png").stat().st_size > 150_000] == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_picture_shows_the_panels_of_the_dashboard(board: Dashboard) -> None:
    """It says itself which ones it shows. After a change: ``python -m tests.e2e.observability.pictures``."""
    with Image.open(ROOT / f"docs/pictures/{board.name}.png") as picture:
        shown = picture.info.get(PANELS_KEYWORD, "").splitlines()

    assert shown == [panel["title"] for panel in board.document["panels"]]
