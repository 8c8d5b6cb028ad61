"""Whether an EngramTemplate can be used."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.evaluation.validation import SchemaValidator
from reconcilers.engramtemplate import EngramTemplateReconciler, template_errors
from reconcilers.runtime.controller import Key
from tests.unit.reconcilers.reconciler_samples import Answering, clock, open_world, stored

GOOD = {"image": "x", "version": "1"}


def template(**spec: Any) -> Object:
    return stored("EngramTemplate", "http", namespace="", spec={**GOOD, **spec})


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ({}, []),
        ({"inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}}}, []),
        ({"inputSchema": {"type": "array", "required": ["x"]}, "outputSchema": {}}, []),
        ({"image": " ", "version": None}, ["spec.image", "spec.version"]),
        ({"inputSchema": 42}, ["spec.inputSchema"]),
        ({"outputSchema": {"type": 42}}, ["spec.outputSchema"]),
        ({"configSchema": {"properties": {"a": {"pattern": "("}}}}, ["spec.configSchema"]),
        ({"inputSchema": {"$ref": "https://example.com/schema"}}, ["spec.inputSchema"]),
        (
            {"inputSchema": {"properties": []}, "outputSchema": {"required": "a"}},
            ["spec.inputSchema", "spec.outputSchema"],
        ),
        ({"configSchema": {"anyOf": {}}}, ["spec.configSchema"]),
    ],
)
async def test_image_version_and_schemas_must_be_usable(spec: Object, places: list[str]) -> None:
    errors = await template_errors(template(**spec), SchemaValidator())
    assert [error.partition(": ")[0] for error in errors] == places


async def test_the_status_counts_engrams_and_is_written_once() -> None:
    known = template()
    server = Answering(known)
    async with open_world(server) as (client, world):
        world.engram_templates.remember(known)
        world.engrams.remember(stored("Engram", "a", spec={"templateRef": {"name": "http"}}))
        world.engrams.remember(stored("Engram", "b", spec={"templateRef": {"name": "other"}}))
        for _ in range(2):
            await EngramTemplateReconciler(client, world, clock()).reconcile(Key("", "http"))
        [latest] = world.engram_templates.list()
    assert (latest["status"]["usageCount"], latest["status"]["validationStatus"]) == (1, "valid")
    assert latest["status"]["conditions"][0]["reason"] == "ValidationPassed"
    assert len(server.patches) == 1
