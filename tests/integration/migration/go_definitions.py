"""The definitions of the Go operator, as far as a client or the API server can notice them.

They are built from the inventory of the contract, with which our own definitions are compared path by path
(``tests/unit/core/api``). Descriptions are not in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION

_INVENTORY: Final = Path(__file__).parents[2] / "unit/core/api/contract_inventory.json"
_PART: Final = re.compile(r"\[\]|\{\}|\.[^.\[\]{}]+")
_RULES: Final = "x-kubernetes-validations"


def go_definitions() -> Iterator[Object]:
    for kind in json.loads(_INVENTORY.read_text()).values():
        version = {
            **kind["version"],
            "additionalPrinterColumns": kind["columns"],
            "selectableFields": kind["selectableFields"],
            "schema": {"openAPIV3Schema": _schema(kind["paths"])},
        }
        group, names = kind["group"], kind["names"]
        yield {
            "apiVersion": CUSTOM_RESOURCE_DEFINITION.api_version,
            "kind": CUSTOM_RESOURCE_DEFINITION.kind,
            "metadata": {"name": f"{names['plural']}.{group}"},
            "spec": {"group": group, "scope": kind["scope"], "names": names, "versions": [version]},
        }


def _schema(paths: dict[str, Any]) -> Object:
    """Path → keywords, as one schema."""
    root: Object = {}
    for path, keywords in sorted(paths.items(), key=lambda each: len(each[0])):
        place = root
        for part in _PART.findall("" if path == "." else path):
            place = _inside(place, part)
        rules = [{"rule": rule, "message": message} for rule, message in keywords.get(_RULES, ())]
        place |= {key: value for key, value in keywords.items() if key != _RULES}
        place |= {_RULES: rules} if rules else {}
    return root


def _inside(schema: Object, part: str) -> Object:
    """What is at one part of a path: ``.name``, ``[]`` or ``{}``."""
    if part == "[]":
        found = schema.setdefault("items", {})
    elif part == "{}":
        found = schema.setdefault("additionalProperties", {})
    else:
        found = schema.setdefault("properties", {}).setdefault(part[1:], {})
    inner: Object = found
    return inner
