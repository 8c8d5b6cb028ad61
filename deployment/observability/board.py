"""Dashboards as data, and their rendering as the JSON that Grafana imports.

A dashboard has a data source to choose, so it works on every Grafana; it queries plain series only, so it works without
our recording rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.api.objects import Object
from deployment.observability.rule import JOB

SCHEMA_VERSION: Final = 41
"""Of Grafana 12.0, which later versions read, too."""
COLUMNS: Final = 24
REFRESH: Final = "30s"
TAG: Final = "bobrapet"
RATE: Final = "$__rate_interval"
HERE: Final = 'namespace=~"$namespace"'
"""The namespaces that the reader has chosen."""
OF_JOB: Final = 'job=~"$job"'

_SOURCE: Final[Object] = {"type": "prometheus", "uid": "${datasource}"}
_MEANINGFUL: Final = ("{{phase}}", "{{decision}}")
_COLOURS: Final = {
    "Succeeded": "green",
    "Failed": "red",
    "Timeout": "orange",
    "Canceled": "blue",
    "Compensated": "purple",
    "Aborted": "dark-red",
    "allowed": "green",
    "denied": "red",
}
_HEIGHTS: Final = {"stat": 4, "timeseries": 8}


class Unit(StrEnum):
    """Units by their names in Grafana."""

    COUNT = "short"
    SECONDS = "s"
    SHARE = "percentunit"
    BYTES = "bytes"
    PER_MINUTE = "cpm"
    PER_SECOND = "ops"
    SWITCH = "bool_yes_no"


@dataclass(frozen=True, slots=True)
class Query:
    """``legend`` is a template of Grafana: ``{{label}}``."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """``description`` says what a reader should do about the values. ``bad_from``: values from here on are red;
    ``bad_below``: below it they are.
    """

    title: str
    unit: Unit
    queries: tuple[Query, ...]
    description: str
    is_stat: bool = False
    width: int = 12
    bad_from: float | None = None
    bad_below: float | None = None
    is_stacked: bool = False

    @property
    def type(self) -> str:
        return "stat" if self.is_stat else "timeseries"


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """``name`` is the name of its file, and the end of its uid."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    has_namespaces: bool = False
    """Whether a reader can choose namespaces of users."""
    job: str = JOB
    """The job that is chosen first."""

    @property
    def uid(self) -> str:
        return f"bobrapet-{self.name}"


def graph(title: str, unit: Unit, description: str, *queries: Query, **more: float | bool | int) -> Panel:
    """A panel of lines."""
    return Panel(title, unit, queries, description, **more)  # type: ignore[arg-type]  # options of Panel by name


def stat(title: str, unit: Unit, description: str, query: Query, **more: float | bool | int) -> Panel:
    """A panel of the newest values."""
    return Panel(title, unit, (query,), description, is_stat=True, **{"width": 4, **more})  # type: ignore[arg-type]  # as above


def to_json(dashboard: Dashboard) -> Object:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": REFRESH,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "links": [{"type": "dashboards", "tags": [TAG], "title": "bobrapet", "asDropdown": True, "keepTime": True}],
        "annotations": {"list": []},
        "templating": {"list": list(_variables(dashboard))},
        "panels": list(_panels(dashboard)),
    }


def _variables(dashboard: Dashboard) -> Iterator[Object]:
    yield {"name": "datasource", "type": "datasource", "label": "Data source", "query": "prometheus"}
    yield _choice(
        "job", "Job", 'label_values(up{job=~".*bobrapet.*"}, job)', {"text": dashboard.job, "value": dashboard.job}
    )
    if dashboard.has_namespaces:
        everything: Object = {"text": "All", "value": "$__all"}
        source = 'label_values({__name__=~"bobrapet_storyruns_total|bobravoz_hub_active_streams"}, namespace)'
        yield {
            **_choice("namespace", "Namespace", source, everything),
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
        }


def _choice(name: str, label: str, query: str, current: Object) -> Object:
    asked = {"query": query, "refId": name}
    first = {"name": name, "label": label, "type": "query", "datasource": _SOURCE, "query": asked}
    return {**first, "refresh": 2, "sort": 1, "current": current}


def _panels(dashboard: Dashboard) -> Iterator[Object]:
    number, top = 0, 0
    for row in dashboard.rows:
        number += 1
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": _HEIGHTS[panel.type]}
            yield _panel(panel, number, place)
            left, height = left + panel.width, max(height, place["h"])
        top += height


def _panel(panel: Panel, number: int, place: Object) -> Object:
    options = _stat_options() if panel.is_stat else _graph_options()
    return {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": options,
        "targets": [_target(query, panel, chr(ord("A") + index)) for index, query in enumerate(panel.queries)],
    }


def _target(query: Query, panel: Panel, reference: str) -> Object:
    return {
        "refId": reference,
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "range": not panel.is_stat,
        "instant": panel.is_stat,
    }


def _defaults(panel: Panel) -> Object:
    steps: list[Object] = [{"color": "green", "value": None}]
    if panel.bad_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.bad_below}]
    if panel.bad_from is not None:
        steps.append({"color": "red", "value": panel.bad_from})
    defaults: Object = {"unit": str(panel.unit), "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.is_stat:
        return {**defaults, "color": {"mode": "thresholds"}, "noValue": "0"}
    if panel.unit is Unit.SWITCH:
        defaults |= {"max": 1, "decimals": 0}
    has_limit = panel.bad_from is not None or panel.bad_below is not None
    custom: Object = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.is_stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if has_limit else "off"},
    }
    return {**defaults, "color": {"mode": "palette-classic"}, "custom": custom}


def _overrides(panel: Panel) -> list[Object]:
    """Phases and decisions have the same colours everywhere."""
    if not any(query.legend in _MEANINGFUL for query in panel.queries):
        return []
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in _COLOURS.items()
    ]


def _stat_options() -> Object:
    return {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }


def _graph_options() -> Object:
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
