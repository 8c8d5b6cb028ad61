"""Rules for a TransportBinding beyond its schema. Source: admission contract 13."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import STORY_RUN, TRANSPORT, TRANSPORT_BINDING
from core.api.text import text
from core.policy.transport_problems import unsupported
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule
from webhooks.validate import change, reference, streaming
from webhooks.validate.change import namespace_of

FROZEN: Final = Rule("binding/frozen", "13", CauseType.FORBIDDEN)
LANE: Final = Rule("binding/lane", "13")
BLANK: Final = Rule("binding/blank", "13", CauseType.REQUIRED)
TRANSPORT_MISSING: Final = Rule("binding/transport-missing", "13", CauseType.NOT_FOUND)
DRIVER: Final = Rule("binding/driver", "13")
UNSUPPORTED: Final = Rule("binding/unsupported", "13")
RUN_NAMESPACE: Final = Rule("binding/run-namespace", "13", CauseType.FORBIDDEN)

_FROZEN: Final = ("transportRef", "driver")
_LANES: Final = ("audio", "video", "binary")


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a binding that matches its schema; none if it is being deleted or its spec is unchanged."""
    if change.is_deleted(new) or (old is not None and not change.is_spec_changed(new, old)):
        return []
    frozen = [
        FROZEN.at(f"spec.{key}", "may not be changed", "create another binding")
        for key in (_FROZEN if old is not None else ())
        if text(new["spec"].get(key)) != text(((old or {}).get("spec") or {}).get(key))
    ]
    return [*frozen, *_findings(new, world)]


def _findings(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    spec = new["spec"]
    if all(spec.get(lane) is None for lane in _LANES):
        yield LANE.at("spec", "has no lane", "give at least one of audio, video and binary")
    for key in _FROZEN:
        if not text(spec.get(key)):
            yield BLANK.at(f"spec.{key}", "must not be blank", f"give the {key}")
    yield from streaming.check_settings(spec.get("rawSettings"), "spec.rawSettings")
    yield from _run(new)
    if not text(spec.get("transportRef")):
        return
    wanted = reference.link(TRANSPORT_BINDING, "", TRANSPORT, {"name": spec["transportRef"]})
    found = reference.find(wanted, world)
    yield from reference.missing(TRANSPORT_MISSING, wanted, found, "spec.transportRef")
    if isinstance(found, Unseen):
        return
    offered = found.get("spec") or {}
    if text(spec.get("driver")) and text(spec["driver"]) != text(offered.get("driver")):
        message = f"{text(spec['driver'])!r} is not the driver of {wanted}"
        yield DRIVER.at("spec.driver", message, f"use {text(offered.get('driver'))}")
    for error in unsupported(spec, offered, wanted):
        yield UNSUPPORTED.at(error.path, error.message, error.remedy)


def _run(new: ReadOnlyObject) -> Iterator[Finding]:
    """A finding if the run is in another namespace, because a binding belongs to its run."""
    wanted = reference.link(TRANSPORT_BINDING, namespace_of(new), STORY_RUN, new["spec"].get("storyRunRef") or {})
    if namespace_of(new) and wanted.namespace != namespace_of(new):
        message = f"a binding in namespace {namespace_of(new)} cannot belong to a run in {wanted.namespace}"
        yield RUN_NAMESPACE.at("spec.storyRunRef.namespace", message, "create it in the run's namespace")
