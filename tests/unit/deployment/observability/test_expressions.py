"""Dashboards and rules name only series and labels that exist, and dashboards show every series that is in use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from core.telemetry.catalogue import CATALOGUE, Series, SeriesKind
from core.telemetry.hub_catalogue import HUB_CATALOGUE
from deployment.observability.dashboards import dashboards
from deployment.observability.promql import names_in
from deployment.observability.rules import GROUPS
from tests.unit.deployment.observability.expression import read

ROOT: Final = Path(__file__).parents[4]
CONTRACT: Final = (ROOT / "docs/contract/operator.md").read_text()
NOT_UPDATED: Final = CONTRACT[CONTRACT.index("### 8.5") : CONTRACT.index("### 8.6")]
OF_TARGETS: Final = frozenset({"job", "instance"})
OF_OTHERS: Final[Mapping[str, frozenset[str]]] = {
    "up": frozenset(),
    "process_cpu_seconds_total": frozenset(),
    "process_resident_memory_bytes": frozenset(),
    "process_start_time_seconds": frozenset(),
}
"""Series of Prometheus and of its client library."""


INNER: Final = frozenset({"le", "job", "instance"})
"""Labels that expressions match by, and results do not have."""


class Used(NamedTuple):
    """An expression, where it is, and what it draws its legend from; empty: Grafana writes it."""

    where: str
    expression: str
    legend: str = ""


def samples_of(series: Series) -> Iterator[tuple[str, frozenset[str]]]:
    """The names under which a series is exposed, with their labels."""
    labels = frozenset(series.labels)
    if series.kind is SeriesKind.HISTOGRAM:
        yield f"{series.name}_bucket", labels | {"le"}
        yield f"{series.name}_count", labels
        yield f"{series.name}_sum", labels
    else:
        yield series.name, labels


KNOWN: Final[Mapping[str, frozenset[str]]] = {
    **OF_OTHERS,
    **{name: labels for series in (*CATALOGUE, *HUB_CATALOGUE) for name, labels in samples_of(series)},
    **{each.name: frozenset(read(each.expression).groups) for group in GROUPS for each in group.recordings},
}
QUERIES: Final = [
    Used(f"{board.name}/{panel['title']}", target["expr"], target["legendFormat"].removeprefix("__auto"))
    for board in dashboards()
    for panel in board.panels
    for target in panel["targets"]
]
USED: Final = [
    *QUERIES,
    *(Used(each.name, each.expression) for group in GROUPS for each in group.recordings),
    *(Used(each.name, each.expression) for group in GROUPS for each in group.alerts),
]
OF_RULES: Final = USED[len(QUERIES) :]


@pytest.mark.parametrize("used", USED, ids=lambda used: used.where)
def test_an_expression_names_series_and_labels_that_exist(used: Used) -> None:
    reading = read(used.expression)

    assert sorted(set(reading.series) - set(KNOWN)) == []
    wrong = {name: labels - KNOWN[name] - OF_TARGETS for name, labels in reading.series.items()}
    assert {name: labels for name, labels in wrong.items() if labels} == {}
    available = OF_TARGETS.union(*(KNOWN[name] for name in reading.series))
    assert reading.groups - available == set()


@pytest.mark.parametrize("used", [used for used in USED if used.legend], ids=lambda used: used.where)
def test_a_legend_shows_labels_that_the_result_has(used: Used) -> None:
    reading = read(used.expression)
    shown = set(re.findall(r"\{\{(\w+)\}\}", used.legend))
    of_series = OF_TARGETS.union(*(KNOWN[name] for name in reading.series))

    assert shown - (reading.groups if reading.is_grouped and reading.groups else of_series) == set()


def test_lines_of_a_panel_can_be_told_apart() -> None:
    """Labels by which a result is grouped are in its legend."""
    silent = {
        query.where: sorted(missing)
        for query in QUERIES
        if (missing := read(query.expression).groups - INNER - set(re.findall(r"\{\{(\w+)\}\}", query.legend)))
    }

    assert silent == {}


FOR_BOARDS_OF_OTHERS = (
    *(
        "controller_runtime_reconcile",
        "controller_runtime_terminal",
        "controller_runtime_max",
        "controller_runtime_active",
    ),
    *("workqueue_", "bobrapet_storyrun_steps_completed", "bobrapet_storyrun_window_seconds"),
)
"""What people who come from other operators have charted; our own dashboards answer the same questions otherwise."""


@pytest.mark.parametrize("catalogue", [CATALOGUE, HUB_CATALOGUE], ids=["operator", "hub"])
def test_every_series_in_use_is_on_a_dashboard(catalogue: tuple[Series, ...]) -> None:
    shown = {name for query in QUERIES for name in read(query.expression).series}
    in_use = [series for series in catalogue if f"`{series.name}`" not in NOT_UPDATED]
    in_use = [series for series in in_use if not series.name.startswith(FOR_BOARDS_OF_OTHERS)]

    assert [series.name for series in in_use if not shown & {name for name, _ in samples_of(series)}] == []


@pytest.mark.parametrize("used", USED, ids=lambda used: used.where)
def test_the_names_for_the_page_are_those_of_the_parser(used: Used) -> None:
    names = names_in(used.expression)

    assert names == {name for name in read(used.expression).series if name != "up"} - {"None"}


def test_an_alert_on_shared_names_selects_our_job() -> None:
    """Other operators expose series of the same names."""
    shared = ("rest_client_", "controller_runtime_", "leader_election_", "process_", "certwatcher_", "up")
    loose = [
        f"{rule.where}: {name}"
        for rule in OF_RULES
        for name, labels in read(rule.expression).series.items()
        if name.startswith(shared) and "job" not in labels and "on (job, instance)" not in rule.expression
    ]

    assert loose == []
