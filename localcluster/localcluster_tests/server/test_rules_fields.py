"""Fields that a rule names but its schema does not have."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import rules_fields

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "a-b": {"type": "string"},
        "inner": {"type": "object", "properties": {"x": {"type": "integer"}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"y": {"type": "integer"}}}},
        "open": {"type": "object", "additionalProperties": True},
    },
}


@pytest.mark.parametrize(
    ("rule", "undefined"),
    [
        ("self.name == 'self.nothing'", []),
        ("self.nothing == 1", ["nothing"]),
        ("has(self.inner.z) || self.inner.x > oldSelf.inner.w", ["z", "w"]),
        ("self.name.size() > 1 && self.nothing.size() > 1", ["nothing"]),
        ("self.map.any.y == 1 && self.map.any.z == 1", ["z"]),
        ("self.open.any.thing == 1", []),
        ("self.a__dash__b == 'x' && self.?inner.x.hasValue()", []),
        ("self.metadata.name == 'x'", []),
        ("other.nothing == 1 && myself.nothing == 2", []),
    ],
)
def test_only_what_no_object_can_have_is_named(rule: str, undefined: list[str]) -> None:
    assert rules_fields.undefined(rule, SCHEMA) == undefined
