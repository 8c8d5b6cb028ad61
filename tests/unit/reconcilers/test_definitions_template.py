"""Whether an EngramTemplate or an ImpulseTemplate can be used."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import IMPULSE, IMPULSE_TEMPLATE
from core.evaluation.validation import SchemaValidator
from core.policy.settings import OperatorSettings
from reconcilers.engramtemplate import EngramTemplateReconciler, template_errors
from reconcilers.impulsetemplate import ImpulseTemplateReconciler
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


async def test_the_status_names_all_problems_of_a_container_without_an_sdk() -> None:
    container = {"args": ["{{ steps.a }}"], "result": {"from": "file"}}
    known = template(supportedModes=["job"], container=container)
    async with open_world(Answering(known)) as (client, world):
        world.engram_templates.remember(known)
        await EngramTemplateReconciler(client, world, clock(), OperatorSettings).reconcile(Key("", "http"))
        [latest] = world.engram_templates.list()
    errors = latest["status"]["validationErrors"]
    assert [error.partition(": ")[0] for error in errors] == ["spec.container.args[0]", "spec.container.result.path"]
    assert latest["status"]["validationStatus"] == "invalid"


async def test_an_engram_template_needs_no_image_where_the_operator_has_one() -> None:
    known = template(image="")
    async with open_world(Answering(known)) as (client, world):
        world.engram_templates.remember(known)
        settings = OperatorSettings(default_engram_image="img")
        await EngramTemplateReconciler(client, world, clock(), lambda: settings).reconcile(Key("", "http"))
        [latest] = world.engram_templates.list()
    assert latest["status"]["validationStatus"] == "valid"


async def test_the_status_counts_engrams_and_is_written_once() -> None:
    known = template()
    server = Answering(known)
    async with open_world(server) as (client, world):
        world.engram_templates.remember(known)
        world.engrams.remember(stored("Engram", "a", spec={"templateRef": {"name": "http"}}))
        world.engrams.remember(stored("Engram", "b", spec={"templateRef": {"name": "other"}}))
        for _ in range(2):
            await EngramTemplateReconciler(client, world, clock(), OperatorSettings).reconcile(Key("", "http"))
        [latest] = world.engram_templates.list()
    assert (latest["status"]["usageCount"], latest["status"]["validationStatus"]) == (1, "valid")
    assert latest["status"]["conditions"][0]["reason"] == "ValidationPassed"
    assert len(server.patches) == 1


async def reconciled_impulse_template(
    *impulses: Object, settings: OperatorSettings | None = None, times: int = 1, **spec: Any
) -> tuple[Object, int]:
    """Its status, and the number of writes."""
    known = stored("ImpulseTemplate", "hook", namespace="", spec={**GOOD, "supportedModes": ["deployment"], **spec})
    server, chosen = Answering(known), settings or OperatorSettings()
    async with open_world(server) as (client, world):
        world.informer(IMPULSE_TEMPLATE).remember(known)
        for impulse in impulses:
            world.informer(IMPULSE).remember(impulse)
        for _ in range(times):
            await ImpulseTemplateReconciler(client, world, clock(), lambda: chosen).reconcile(Key("", "hook"))
        [latest] = world.informer(IMPULSE_TEMPLATE).list()
    return latest["status"], len(server.patches)


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ({}, []),
        ({"contextSchema": {"type": "object"}, "configSchema": {}, "inputSchema": 42}, []),
        ({"image": "", "version": " "}, ["spec.image", "spec.version"]),
        ({"supportedModes": ["deployment", "job"]}, ["spec.supportedModes[1]"]),
        ({"contextSchema": 42, "configSchema": {"type": 42}}, ["spec.contextSchema", "spec.configSchema"]),
    ],
)
async def test_an_impulse_template_needs_usable_modes_and_schemas(spec: Object, places: list[str]) -> None:
    status, _ = await reconciled_impulse_template(**spec)
    assert [error.partition(": ")[0] for error in status.get("validationErrors", ())] == places
    assert status["validationStatus"] == ("invalid" if places else "valid")
    assert status["conditions"][0]["reason"] == ("ValidationFailed" if places else "ValidationPassed")


async def test_an_impulse_template_needs_no_image_where_the_operator_has_one() -> None:
    settings = OperatorSettings(default_impulse_image="img")
    status, _ = await reconciled_impulse_template(settings=settings, image="")
    assert status["validationStatus"] == "valid"


async def test_the_impulses_of_a_template_are_counted_also_while_it_is_invalid() -> None:
    impulses = [
        stored("Impulse", name, spec={"templateRef": {"name": used}, "storyRef": {"name": "s"}})
        for name, used in (("a", "hook"), ("b", "hook"), ("c", "other"))
    ]
    status, writes = await reconciled_impulse_template(*impulses, times=3)
    assert (status["usageCount"], writes) == (2, 1)
    status, _ = await reconciled_impulse_template(*impulses, version="")
    assert (status["usageCount"], status["validationStatus"]) == (2, "invalid")
