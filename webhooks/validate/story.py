"""Rules for a Story beyond its schema. All findings at once, in spec order.

Read ``steps``, ``primitive`` and ``loop`` (a step by itself), ``dependency``, ``expression`` and ``packets`` (among
each other), ``worker``, ``call`` and ``carrier`` (what it refers to). Source: admission contract 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import STORY
from core.graph.needs import build_graph
from core.story import edges
from core.story.step import Step
from core.story.story import read_story
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import (
    call,
    carrier,
    change,
    dependency,
    duration,
    expression,
    floor,
    packets,
    payload,
    pod,
    primitive,
    retry,
    scheduling,
    schema,
    script,
    setting,
    strategy,
    warm,
    worker,
)
from webhooks.validate import steps as stepping
from webhooks.validate.data import StoryData

TOTAL_SIZE: Final = Rule("story/total-size", "2")
OUTPUT_SIZE: Final = Rule("story/output-size", "2")
POLICY_SIZE: Final = Rule("story/policy-size", "2")
REFERENCE_FORM: Final = Rule("story/payload-reference-form", "3.3", severity=Severity.WARNING)
REFERENCE_NAMESPACE: Final = Rule("story/payload-reference-namespace", "3.3", CauseType.FORBIDDEN)
POLICY_DURATION: Final = Rule("story/policy-duration", "4.3")
SCHEMA: Final = Rule("story/schema", "4.3")

MAX_STORY_BYTES: Final = 1 << 20

_DURATIONS: Final = ("story", "step", "cleanup")


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a Story that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    too_large = list(payload.check_size(TOTAL_SIZE, new, "", MAX_STORY_BYTES))
    if too_large:
        return too_large
    spec: ReadOnlyObject = new["spec"]
    read = read_story(new)
    steps: dict[str, Step] = {}
    for placed in read.top():
        steps.setdefault(placed.name, placed)
    owners = edges.branch_owners(read)
    reader = expression.Reader(steps, owners, edges.item_owners(read), StoryData(new, world))
    dependencies = [dependency.declared(name, placed, owners) for name, placed in steps.items() if reader.read(placed)]
    if reader.has_given_up:
        return reader.errors
    graph = build_graph(dependencies)
    findings: list[Finding] = []
    for placed in read.top():
        for each in stepping.with_branches(placed):
            findings += stepping.check(each, new, world)
            findings += primitive.check(each)
            findings += setting.check(each)
            findings += worker.check(each, new, world)
            findings += script.check(each, world)
            findings += call.check(each, new, world)
            findings += carrier.check_step(each, spec)
        findings += reader.check_step(placed, graph)
    findings += stepping.name_findings(read)
    findings += dependency.check(steps, dependencies, graph, owners)
    findings += packets.check(spec, steps, world)
    findings += reader.check_story(spec)
    findings += _spec_findings(new, world)
    findings += carrier.check(read, world)
    return findings


def _spec_findings(story: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    spec: ReadOnlyObject = story["spec"]
    policy = spec.get("policy") or {}
    limit = world.settings.max_story_with_block_size_bytes
    for value, path, rule in (
        (spec.get("output"), "spec.output", OUTPUT_SIZE),
        (policy.get("with"), "spec.policy.with", POLICY_SIZE),
    ):
        yield from payload.check_size(rule, value, path, limit)
        yield from payload.check_references(
            REFERENCE_FORM, REFERENCE_NAMESPACE, value, path, STORY, change.namespace_of(story), world
        )
    yield from strategy.check(spec)
    yield from scheduling.check(story, world)
    timeouts, execution = policy.get("timeouts") or {}, policy.get("execution") or {}
    yield from floor.check(execution, "spec.policy.execution", Unseen.UNKNOWN, world)
    yield from pod.check(execution, "spec.policy.execution", world)
    yield from warm.check(execution, "spec.policy.execution")
    for key in _DURATIONS:
        yield from duration.check(POLICY_DURATION, timeouts, key, "spec.policy.timeouts")
    grace = "gracefulShutdownTimeout"
    yield from duration.check(POLICY_DURATION, timeouts, grace, "spec.policy.timeouts", zero=True)
    yield from duration.check(POLICY_DURATION, execution, "timeout", "spec.policy.execution")
    retries = (policy.get("retries") or {}).get("stepRetryPolicy")
    yield from retry.check(POLICY_DURATION, retries, "spec.policy.retries.stepRetryPolicy", world)
    yield from retry.check(POLICY_DURATION, execution.get("retry"), "spec.policy.execution.retry", world)
    yield from retry.check_unread(execution, "spec.policy.execution")
    for key in ("inputsSchema", "outputsSchema"):
        yield from schema.check_schema(SCHEMA, spec.get(key), f"spec.{key}")
