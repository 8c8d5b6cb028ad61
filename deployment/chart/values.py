"""``values.yaml``, ``values.schema.json`` and the table of the values."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, KEYS
from deployment.chart.values_table import ROWS, ValueRow
from deployment.configuration import SHIPPED
from deployment.yaml_text import unshared, yaml_text

SETTINGS: Final = "operatorConfig"
EXTRA: Final = "extra"
_SETTINGS_DO: Final = (
    "One text for each key of the operator's ConfigMap, in camel case "
    "([the keys](../../../docs/operator-settings.md)): "
    "`storyrun.retention-seconds` is `storyrunRetentionSeconds`. A key without a value here has its default."
)
_EXTRA_DOES: Final = "Keys as they are in the ConfigMap, such as those of more queues; they win over the others."
_OF_SETTINGS: Final = {SETTINGS: _SETTINGS_DO, f"{SETTINGS}.{EXTRA}": _EXTRA_DOES}
_WIDTH: Final = 120


def camel_case(key: str) -> str:
    """The name of a key of the ConfigMap among the values.

    >>> camel_case("controller.storage.s3.use-path-style")
    'controllerStorageS3UsePathStyle'
    """
    first, *others = re.split(r"[.-]", key)
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def setting_keys() -> dict[str, str]:
    """Name among the values → key, for every key that the operator accepts."""
    keys = dict.fromkeys([*SHIPPED, *sorted(KEYS), *sorted(ACCEPTED_WITHOUT_EFFECT)])
    return {camel_case(key): key for key in keys}


def default_values() -> dict[str, Any]:
    """The values as nested mappings, in the order of ``values.yaml``."""
    values: dict[str, Any] = {}
    for row in ROWS:
        *folders, name = row.path.split(".")
        place = values
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = row.default
    values[SETTINGS] = {camel_case(key): text for key, text in SHIPPED.items()} | {EXTRA: {}}
    return values


def values_file(header: str) -> str:
    """``values.yaml``, with a comment above each value."""
    lines = [header.rstrip(), *_commented(default_values(), {row.path: row for row in ROWS}, "", "")]
    return "\n".join(lines) + "\n"


def schema_file() -> str:
    """``values.schema.json``: a misspelt value, or one of the wrong type, is refused by name."""
    rows = {row.path: row for row in ROWS}
    schema = _schema(default_values(), rows, "")
    keys = {name: {"type": "string", "description": key} for name, key in sorted(setting_keys().items())}
    extra = {"type": "object", "additionalProperties": {"type": "string"}}
    schema["properties"][SETTINGS] = _closed({**keys, EXTRA: extra})
    schema["properties"]["global"] = {"type": "object", "description": "Values that charts share."}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart bobrapet"}
    return json.dumps({**head, **schema}, indent=2, ensure_ascii=False) + "\n"


def page_table() -> str:
    """The table of the values, in Markdown; lists and mappings of several lines are in ``values.yaml``."""
    lines = ["| value | default | what it does |", "|---|---|---|"]
    for row in ROWS:
        shown = json.dumps(row.default, ensure_ascii=False)
        lines.append(f"| `{row.path}` | {f'`{shown}`' if len(shown) <= 40 else 'see `values.yaml`'} | {row.does} |")
    lines.append(f"| `{SETTINGS}.<key>` | those of an installation | {_SETTINGS_DO} |")
    lines.append(f"| `{SETTINGS}.{EXTRA}` | `{{}}` | {_EXTRA_DOES} |")
    return "\n".join(lines) + "\n"


def _commented(values: Mapping[str, Any], rows: Mapping[str, ValueRow], path: str, indent: str) -> Iterator[str]:
    for name, inner in values.items():
        here = f"{path}{name}"
        row = rows.get(here)
        about = row.does if row is not None else _OF_SETTINGS.get(here, "")
        yield from textwrap.wrap(_plain(about), _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if row is None and isinstance(inner, dict) and inner:
            yield f"{indent}{name}:"
            yield from _commented(inner, rows, f"{here}.", indent + "  ")
        else:
            for line in yaml_text(unshared({name: inner})).splitlines():
                yield indent + line


def _plain(markdown: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)


def _schema(values: Mapping[str, Any], rows: Mapping[str, ValueRow], path: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, inner in values.items():
        row = rows.get(f"{path}{name}")
        if row is not None:
            properties[name] = {**row.schema, "description": _plain(row.does)}
        elif isinstance(inner, dict):
            properties[name] = _schema(inner, rows, f"{path}{name}.")
    return _closed(properties)


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}
