"""Valid reviews, which tests then damage: the objects of the tables of rules, with the objects around them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from core.api.objects import Object
from kubewire import apply_merge_patch
from webhooks.registration import HOOKS

_TABLES = sorted((Path(__file__).parents[2] / "tests/unit/webhooks/validate/rules").glob("*.yaml"))
_MAX_CHARACTERS = 4_000


@cache
def reviews() -> list[tuple[str, Object]]:
    """Paths, and reviews that API servers may send there."""
    return [(hook.path, review) for hook in HOOKS for review in _of_hook(hook)]


@cache
def world() -> list[Object]:
    """Objects that the reviews refer to."""
    return [obj for table in _tables() for world in table["worlds"].values() for obj in world]


@cache
def _tables() -> list[Object]:
    return [json.loads(json.dumps(YAML(typ="safe").load(path), default=str)) for path in _TABLES]


def _of_hook(hook: Any) -> Iterator[Object]:
    resource = hook.resource
    for table in _tables():
        if table["base"]["kind"] != resource.kind or (hook.subresource == "status") != ("caller" in str(table)):
            continue
        for case in table["cases"]:
            for changes in (case["accepted"], case["refused"]):
                new = apply_merge_patch(table["base"], changes)
                if len(str(new)) > _MAX_CHARACTERS:
                    continue
                request: Object = {
                    "uid": "u",
                    "resource": {"group": resource.group, "version": resource.version, "resource": resource.plural},
                    "subResource": hook.subresource,
                    "operation": "UPDATE" if "old" in case or hook.subresource else "CREATE",
                    "namespace": "team",
                    "userInfo": case.get("caller") or {"username": "ann", "groups": ["people"]},
                    "object": new,
                    "oldObject": apply_merge_patch(table["base"], case.get("old") or {}),
                }
                yield {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
