"""Rules for a StepRun beyond its schema. Source: admission contract 9."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from core.api.keys import LABEL_MATERIALIZE
from core.api.objects import ReadOnlyObject
from core.api.resource import ENGRAM, STEP_RUN, STORY, STORY_RUN
from core.api.text import text
from core.expressions import analysis
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, payload, pod, reference, steps
from webhooks.validate.change import namespace_of

RUN_DENIED: Final = Rule("step-run/run-denied", "3.7", CauseType.FORBIDDEN)
RUN_MISSING: Final = Rule("step-run/run-missing", "9.3", CauseType.NOT_FOUND, Severity.WARNING)
ENGRAM_DENIED: Final = Rule("step-run/engram-denied", "3.7", CauseType.FORBIDDEN)
ENGRAM_MISSING: Final = Rule("step-run/engram-missing", "3.9", CauseType.NOT_FOUND)
ENGRAM_VERSION: Final = Rule("step-run/engram-version", "3.8")
INPUT_SIZE: Final = Rule("step-run/input-size", "2")
INPUT_REFERENCE: Final = Rule("step-run/input-reference", "3.3")
INPUT_NAMESPACE: Final = Rule("step-run/input-namespace", "3.3", CauseType.FORBIDDEN)
EXPRESSION: Final = Rule("step-run/expression", "9.2", severity=Severity.WARNING)
TOTAL_SIZE: Final = Rule("step-run/total-size", "2")
TARGET: Final = Rule("step-run/target", "9.2")
ENDPOINT: Final = Rule("step-run/endpoint", "9.2")
IDENTITY_FROZEN: Final = Rule("step-run/identity-frozen", "9.3", CauseType.FORBIDDEN)

MAX_STEP_RUN_BYTES: Final = 1 << 20

_IDENTITY: Final = ("storyRunRef", "stepId", "engramRef", "script")


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a StepRun that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    too_large = list(payload.check_size(TOTAL_SIZE, new, "", MAX_STEP_RUN_BYTES))
    return too_large or list(_findings(new, old, world))


def _findings(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> Iterator[Finding]:
    spec, namespace = new["spec"], namespace_of(new)
    if old is not None:
        for field in change.changed_fields(spec, old.get("spec") or {}, _IDENTITY):
            yield IDENTITY_FROZEN.at(f"spec.{field}", "may not be changed", "create another StepRun")
    run = reference.link(STEP_RUN, namespace, STORY_RUN, spec["storyRunRef"])
    yield from reference.denial(RUN_DENIED, run, world, "spec.storyRunRef")
    yield from reference.missing(RUN_MISSING, run, reference.find(run, world), "spec.storyRunRef.name")
    if spec.get("engramRef"):
        wanted, path = reference.link(STEP_RUN, namespace, ENGRAM, spec["engramRef"]), "spec.engramRef"
        yield from reference.denial(ENGRAM_DENIED, wanted, world, path)
        found = reference.find(wanted, world)
        yield from reference.missing(ENGRAM_MISSING, wanted, found, f"{path}.name")
        yield from reference.version_mismatch(
            ENGRAM_VERSION, spec["engramRef"], wanted, found, "spec.engramRef.version"
        )
    yield from _input(new, world)
    yield from pod.check_step_run(spec.get("executionOverrides"), "spec.executionOverrides")
    for index, target in enumerate(spec.get("downstreamTargets") or ()):
        yield from _target(target, f"spec.downstreamTargets[{index}]")


def _input(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    given, path = new["spec"].get("input"), "spec.input"
    labels = (new.get("metadata") or {}).get("labels") or {}
    limit = _limit_bytes(new, world)
    if limit is not None and text(labels.get(LABEL_MATERIALIZE)).lower() != "true":
        yield from payload.check_size(INPUT_SIZE, given, path, limit)
    yield from payload.check_references(
        INPUT_REFERENCE, INPUT_NAMESPACE, given, path, STEP_RUN, namespace_of(new), world
    )
    for problem in analysis.check_value(given, path):
        yield EXPRESSION.at(problem.path, problem.message, problem.remedy or "correct the template", problem.excerpt)


def _limit_bytes(new: ReadOnlyObject, world: ClusterView) -> int | None:
    """Largest input that the operator, the Engram or the step of the Story allows; ``None``: unknown."""
    spec, namespace = new["spec"], namespace_of(new)
    limits = [world.settings.engram.max_inline_size_bytes]
    engram = reference.find(reference.link(STEP_RUN, namespace, ENGRAM, spec.get("engramRef") or {}), world)
    run = reference.find(reference.link(STEP_RUN, namespace, STORY_RUN, spec["storyRunRef"]), world)
    story: ReadOnlyObject | Unseen = Unseen.MISSING
    if not isinstance(run, Unseen):
        its_story = (run.get("spec") or {}).get("storyRef") or {}
        story = reference.find(reference.link(STORY_RUN, namespace_of(run), STORY, its_story), world)
    if Unseen.UNKNOWN in (engram, run, story):
        return None
    if not isinstance(engram, Unseen):
        limits.append(((engram.get("spec") or {}).get("overrides") or {}).get("maxInlineSize") or 0)
    if not isinstance(story, Unseen):
        limits += (
            (placed.declared.get("execution") or {}).get("maxInlineSize") or 0
            for placed in steps.every_step(story)
            if placed.declared.get("name") == spec["stepId"]
        )
    return max(limits)


def _target(target: ReadOnlyObject, path: str) -> Iterator[Finding]:
    grpc, terminate = target.get("grpc"), target.get("terminate")
    if (grpc is None) == (terminate is None):
        which = "both grpc and terminate" if grpc is not None else "neither grpc nor terminate"
        yield TARGET.at(path, f"has {which}", "give one of them")
    if grpc is not None:
        yield from _endpoint(text(grpc.get("endpoint")), f"{path}.grpc.endpoint")


def _endpoint(endpoint: str, path: str) -> Iterator[Finding]:
    """A finding if it is neither ``host:port`` nor a URL with both."""
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        is_sound = bool(parts.hostname and parts.hostname.strip()) and parts.port is not None and parts.port > 0
        if "://" not in endpoint:
            is_sound = is_sound and parts.netloc == endpoint and "@" not in endpoint
    except ValueError:
        is_sound = False
    if not is_sound:
        yield ENDPOINT.at(path, f"{endpoint!r} is not host:port", "use a port from 1 to 65535")
