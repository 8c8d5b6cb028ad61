"""The binding of an Engram step, and why it may be refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from core.api.objects import Object
from core.api.phases import Reason, StepReason
from core.api.resource import ENGRAM, REFERENCE_GRANT
from core.engine.errors import AwaitedError, Definition, MissingReferenceError, RejectedError
from core.policy.settings import CrossNamespacePolicy
from core.policy.timing import TimeoutChoice
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME


async def test_a_step_is_bound_to_engram_template_and_policy(there: AdapterWorld) -> None:
    template = {
        "inputSchema": {"type": "object"},
        "declaredOutputKeys": ["a", "b"],
        "execution": {"timeout": "7m", "retry": {"recommendedMaxRetries": 2}},
    }
    run, story = await there.definitions(**template)
    await there.create(ENGRAM, "third", {"version": "3", "templateRef": {"name": "http"}})
    step = {"name": "fetch", "ref": {"name": "third", "version": " 3 "}, "execution": {"maxInlineSize": 9}}
    binding = await there.binder.bind(run, story, step)
    assert (binding.engram_namespace, binding.engram_name, binding.engram_version) == ("team", "third", "3")
    assert (binding.template_name, binding.template_generation) == ("http", 1)
    assert (binding.timeout, binding.max_inline_size_bytes) == (timedelta(minutes=7), 9)
    assert binding.limit == TimeoutChoice(timedelta(minutes=7), "EngramTemplate")
    assert (binding.retry_spec, binding.retry.max_retries) == ({"maxRetries": 2}, 2)
    assert (binding.input_schema, binding.output_schema) == ({"type": "object"}, None)
    assert binding.declared_output_keys == frozenset({"a", "b"})


async def test_the_items_of_a_loop_share_a_binding_until_a_definition_or_a_setting_changes(
    there: AdapterWorld,
) -> None:
    run, story = await there.definitions()
    step, binder = {"name": "fetch", "ref": {"name": "http"}}, there.binder
    first = await binder.bind(run, story, step)
    assert await binder.bind(run, story, step) is first
    assert await binder.bind(run, story, {**step, "execution": {"timeout": "9m"}}) is not first
    engram_settings = replace(there.settings.engram, max_inline_size_bytes=77)
    there.settings = replace(there.settings, engram=engram_settings)
    assert (await binder.bind(run, story, step)).max_inline_size_bytes == 77
    patch = {"spec": {"with": {"url": "x"}}}
    there.world.engrams.remember(await there.client.patch(ENGRAM, "http", patch, namespace=NAMESPACE_NAME))
    assert (await binder.bind(run, story, step)).default_with == {"url": "x"}


@pytest.mark.parametrize(
    ("reference", "reason", "text"),
    [
        ({}, Reason.REFERENCE_NOT_FOUND, "no Engram can have this name"),
        ({"name": "a/../b"}, Reason.REFERENCE_NOT_FOUND, "no Engram can have this name"),
        (
            {"name": "http", "namespace": "lib"},
            Reason.ENGRAM_REFERENCE_INVALID,
            "references.cross-namespace-policy is deny",
        ),
    ],
)
async def test_a_reference_that_can_never_be_met_has_its_reason(
    there: AdapterWorld, reference: Object, reason: Reason, text: str
) -> None:
    run, story = await there.definitions()
    with pytest.raises(MissingReferenceError) as caught:
        await there.binder.bind(run, story, {"name": "fetch", "ref": reference})
    assert caught.value.reason is reason
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "reason", "text", "definitions"),
    [
        (
            {"name": "nobody"},
            StepReason.ENGRAM_NOT_FOUND,
            "Engram team/nobody of step 'fetch' does not exist; apply it or correct steps[].ref",
            {Definition("Engram", "team", "nobody")},
        ),
        (
            {"name": "lost"},
            StepReason.TEMPLATE_NOT_FOUND,
            "EngramTemplate 'nothing' of Engram team/lost does not exist; apply it or correct spec.templateRef",
            {Definition("Engram", "team", "lost"), Definition("EngramTemplate", "", "nothing")},
        ),
        (
            {"name": "lost", "version": "2"},
            StepReason.ENGRAM_VERSION_MISMATCH,
            "step 'fetch' requires version '2' of Engram team/lost, which is version '1'; apply that version",
            {Definition("Engram", "team", "lost")},
        ),
        (
            {"name": "http", "version": "2"},
            StepReason.ENGRAM_VERSION_MISMATCH,
            "step 'fetch' requires version '2' of Engram team/http, which has no version; apply that version",
            {Definition("Engram", "team", "http")},
        ),
    ],
)
async def test_what_may_still_be_applied_is_awaited(
    there: AdapterWorld, reference: Object, reason: StepReason, text: str, definitions: set[Definition]
) -> None:
    run, story = await there.definitions()
    await there.create(ENGRAM, "lost", {"version": "1", "templateRef": {"name": "nothing"}})
    with pytest.raises(AwaitedError) as caught:
        await there.binder.bind(run, story, {"name": "fetch", "ref": reference})
    assert str(caught.value).startswith(text)
    assert (caught.value.reason, set(caught.value.definitions)) == (reason, definitions)
    assert caught.value.limit == TimeoutChoice(timedelta(minutes=30), "built-in")


async def test_the_known_definitions_say_how_long_the_others_are_awaited(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    lost = {"templateRef": {"name": "nothing"}, "overrides": {"timeout": "7m"}}
    await there.create(ENGRAM, "lost", lost)
    step: Object = {"name": "fetch", "ref": {"name": "lost"}}
    by_engram = TimeoutChoice(timedelta(minutes=7), "Engram overrides")
    by_step = TimeoutChoice(timedelta(seconds=90), "Story step")
    for execution, limit in (({}, by_engram), ({"timeout": "90s"}, by_step)):
        with pytest.raises(AwaitedError) as caught:
            await there.binder.bind(run, story, {**step, "execution": execution})
        assert caught.value.limit == limit
    with pytest.raises(RejectedError, match=r"step execution\.timeout"):
        await there.binder.bind(run, story, {**step, "execution": {"timeout": "soon"}})


async def test_an_engram_created_a_moment_ago_is_found(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    await there.create(ENGRAM, "fresh", {"templateRef": {"name": "http"}})
    binding = await there.binder.bind(run, story, {"name": "fetch", "ref": {"name": "fresh"}})
    assert binding.engram_name == "fresh"


async def test_a_grant_opens_another_namespace(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    await there.namespace("lib")
    await there.create(ENGRAM, "shared", {"templateRef": {"name": "http"}}, namespace="lib")
    there.settings = replace(there.settings, cross_namespace_policy=CrossNamespacePolicy.GRANT)
    step = {"name": "fetch", "ref": {"name": "shared", "namespace": "lib"}}
    with pytest.raises(AwaitedError, match="no ReferenceGrant in namespace lib") as caught:
        await there.binder.bind(run, story, step)
    assert caught.value.reason is StepReason.REFERENCE_NOT_GRANTED
    assert caught.value.definitions == {Definition("Engram", "lib", "shared"), Definition("ReferenceGrant", "lib", "")}
    grant = {
        "from": [{"group": "bubustack.io", "kind": "Story", "namespace": "team"}],
        "to": [{"group": "bubustack.io", "kind": "Engram"}],
    }
    stored = await there.create(REFERENCE_GRANT, "open", grant, namespace="lib")
    there.world.reference_grants.remember(stored)
    assert (await there.binder.bind(run, story, step)).engram_namespace == "lib"


async def test_an_invalid_policy_is_refused_with_everything_wrong_with_it(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    execution = {"security": {"runAsUser": 0}, "imagePullPolicy": "often"}
    step = {"name": "fetch", "ref": {"name": "http"}, "execution": execution}
    with pytest.raises(RejectedError) as caught:
        await there.binder.bind(run, story, step)
    assert caught.value.reason is Reason.INVALID_CONFIGURATION
    assert "runAsUser 0 must be greater than 0" in str(caught.value)
    assert "imagePullPolicy 'often'" in str(caught.value)
