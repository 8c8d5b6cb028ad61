"""The engine's ports on the model cluster, for one process of the operator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any, TypeVar

import trio

from bubu_contract.durations import parse_positive_duration
from core.api.objects import (
    NamespacedName,
    Object,
    has_ended,
    is_controlled_by,
    is_left_by_a_namesake,
    is_owned_by,
    step_path,
    without_data,
)
from core.api.phases import StepReason
from core.engine.errors import AwaitedError, Definition, GoneError, NameConflictError, StaleError, UnavailableError
from core.engine.ports import JOB, STREAM, Binding
from core.engine.step.past import may_have_a_past, may_have_begun
from core.engine.step.record import is_overtaken
from core.policy.retry import TRANSIENT, RetryPolicy
from core.policy.timing import TimeoutChoice
from fuzz.engine.cluster import Cluster, place_of
from fuzz.engine.process import Process
from fuzz.engine.routing import story_of
from fuzz.engine.watches import controlled_by
from kubewire import copy_value, values_equal

T = TypeVar("T")


TEMPLATE = "template"
"""The template of all Engrams."""
UNBOUND_SECONDS = 20.0
"""The timeout of a step whose Engram or template does not exist, unless the step has one itself."""
NEW_SECONDS = 0.25
"""Later, another leader may have started and ended the first attempt of a StepRun that this process created."""


@dataclass(frozen=True)
class Engram:
    """The contents of an Engram. The cluster has an object of its name if it exists."""

    timeout_seconds: float | None = 1800.0
    """None: without limit, which only a stream may have."""
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(max_retries=0))
    default_with: Mapping[str, Any] | None = None
    max_inline_size_bytes: int = 4096
    executor: str = JOB
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    declared_output_keys: frozenset[str] | None = None
    shares_store: bool = False
    cache: Mapping[str, Any] | None = None
    container: Mapping[str, Any] | None = None
    """Set if its image has no SDK."""


@dataclass
class ModelRunStore:
    """Reads from caches, asks the server for missing objects, and writes with preconditions, like production."""

    cluster: Cluster
    process: Process

    async def read_run(self, key: NamespacedName) -> Object | None:
        return await self._find("StoryRun", key.namespace, key.name)

    async def read_run_anew(self, key: NamespacedName) -> Object | None:
        stored = await self.process.call(self.cluster, lambda: self.cluster.get("StoryRun", *key))
        if stored is not None:
            self.process.known.remember(stored)
        return stored

    async def read_story(self, namespace: str, name: str) -> Object | None:
        return await self._find("Story", namespace, name)

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(run, "status", patch)

    async def patch_run_metadata(self, run: Object, patch: Mapping[str, Any]) -> Object:
        return await self._patch(run, "metadata", patch)

    async def create_child_run(self, run: Object, manifest: Object) -> Object:
        if step_path(manifest) in ((run.get("status") or {}).get("stepStates") or {}):
            await confirm(self.cluster, self.process, run)
        stored = await self.process.write(self.cluster, lambda: self._create_child(run, manifest))
        self.process.known.remember(stored)
        return stored

    async def child_runs(self, run: Object) -> list[Object]:
        self.process.check()
        return self.process.known.by_owner("StoryRun", run["metadata"]["uid"])

    async def packet_runs(self, run: Object) -> list[Object]:
        self.process.check()
        uid, known = run["metadata"]["uid"], self.process.known.all("StoryRun")
        return [each for each in known if is_owned_by(each, uid) and not is_controlled_by(each, uid)]

    async def request_cancel(self, run: Object) -> None:
        stored = await self.process.write(self.cluster, lambda: self._request_cancel(run))
        if stored is not None:
            self.process.known.remember(stored)

    async def delete_child_run(self, run: Object) -> None:
        await delete(self.cluster, self.process, run)

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]:
        self.process.check()
        runs = self.process.known.all("StoryRun")
        return [
            run
            for run in runs
            if story_of(run) == (namespace, name)
            and not has_ended(run)
            and not run["metadata"].get("deletionTimestamp")
        ]

    async def pin_story(self, story: Object) -> str:
        return await self.process.write(self.cluster, lambda: self._pin(story))

    async def read_pinned_story(self, namespace: str, name: str) -> Object | None:
        revision = await self.process.call(
            self.cluster, lambda: self.cluster.get("ControllerRevision", namespace, name)
        )
        return None if revision is None else dict(revision["data"])

    async def _find(self, kind: str, namespace: str, name: str) -> Object | None:
        self.process.check()
        known = self.process.known.get(kind, namespace, name)
        if known is not None:
            return known
        return await self.process.call(self.cluster, lambda: self.cluster.get(kind, namespace, name))

    async def _patch(self, run: Object, part: str, patch: Mapping[str, Any]) -> Object:
        return await merge(self.cluster, self.process, run, part, patch)

    def _create_child(self, run: Object, manifest: Object) -> Object:
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created
        existing = self.cluster.get("StoryRun", manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        assert existing is not None
        if is_left_by_a_namesake(existing, run):
            raise UnavailableError("the StoryRun of a deleted run is still being removed")
        wanted, found = manifest["spec"], existing["spec"]
        same = all(values_equal(found.get(key), wanted.get(key)) for key in ("storyRef", "inputs"))
        if same and controlled_by(existing, run["metadata"]["uid"]):
            return existing
        raise NameConflictError("the StoryRun belongs to another owner, or is of another Story or other inputs")

    def _request_cancel(self, run: Object) -> Object | None:
        place = place_of(run)
        stored = self.cluster.objects.get(place)
        if stored is None or stored["metadata"]["uid"] != run["metadata"]["uid"] or has_ended(stored):
            return None
        return self.cluster.force_patch(self.process.actor, place, "spec", {"cancelRequested": True})

    def _pin(self, story: Object) -> str:
        metadata = story["metadata"]
        kept = {"metadata": {key: metadata[key] for key in ("name", "namespace", "uid")}, "spec": story["spec"]}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
        name = f"{metadata['name']}-{digest}"
        manifest: Object = {
            "kind": "ControllerRevision",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "data": copy_value(story),
        }
        self.cluster.create(self.process.actor, manifest)
        return name


@dataclass
class ModelStepRuns:
    cluster: Cluster
    process: Process
    new: dict[str, float] = field(default_factory=dict)
    """By UID: when this process created a StepRun for the first time, until it starts the first attempt."""

    async def read_step_run(self, run: Object, name: str) -> Object | None:
        self.process.check()
        step_run = self.process.known.get("StepRun", run["metadata"]["namespace"], name)
        return step_run if step_run is not None and controlled_by(step_run, run["metadata"]["uid"]) else None

    async def step_runs(self, run: Object) -> list[Object]:
        self.process.check()
        return [without_data(one) for one in self.whole_step_runs(run)]

    def whole_step_runs(self, run: Object) -> Iterator[Object]:
        return iter(self.process.known.by_owner("StepRun", run["metadata"]["uid"]))

    async def create_step_run(self, run: Object, manifest: Object, again: bool = False) -> Object:
        anew = again or may_have_begun(run, step_path(manifest) or "")
        if anew:
            await confirm(self.cluster, self.process, run)
        sent_at = trio.current_time()
        stored, made = await self.process.write(self.cluster, lambda: self._create_step_run(run, manifest))
        known = partial(self.process.known.get, "StoryRun")
        if made and not anew and not may_have_a_past(run, known):
            self.new[stored["metadata"]["uid"]] = sent_at
        self.process.known.remember(stored)
        return stored

    def take_new(self, step_run: Object) -> bool:
        """Whether this process created the StepRun a moment ago, for the first time. Later calls return False."""
        sent_at = self.new.pop(step_run["metadata"]["uid"], -inf)
        known = self.process.known.get("StepRun", step_run["metadata"]["namespace"], step_run["metadata"]["name"])
        overtaken = known is None or is_overtaken(step_run, known)
        return not overtaken and trio.current_time() - sent_at <= NEW_SECONDS

    async def patch_step_run_status(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await merge(self.cluster, self.process, step_run, "status", patch)

    async def patch_step_run_metadata(self, step_run: Object, patch: Mapping[str, Any]) -> Object:
        return await merge(self.cluster, self.process, step_run, "metadata", patch)

    async def delete_step_run(self, step_run: Object) -> None:
        await delete(self.cluster, self.process, step_run)

    async def occupants(self) -> list[Object]:
        return await self._call(lambda: [found for found in self.cluster.list_all("StepRun") if not has_ended(found)])

    async def _call(self, apply: Callable[[], T]) -> T:
        return await self.process.call(self.cluster, apply)

    def _create_step_run(self, run: Object, manifest: Object) -> tuple[Object, bool]:
        created = self.cluster.create(self.process.actor, manifest)
        if created is not None:
            return created, True
        existing = self.cluster.get(*place_of(manifest))
        assert existing is not None
        if is_left_by_a_namesake(existing, run):
            raise UnavailableError("the StepRun of a deleted run is still being removed")
        same = existing["spec"].get("stepId") == manifest["spec"]["stepId"]
        if same and controlled_by(existing, run["metadata"]["uid"]):
            return existing, False
        raise NameConflictError("the StepRun belongs to another owner")


@dataclass
class ModelBindings:
    """Reads from caches, and asks the server for missing definitions, like production."""

    cluster: Cluster
    process: Process
    engrams: Mapping[str, Engram]
    """By name; an Engram that is not in it is an ordinary one."""

    async def bind(self, run: Object, story: Object, step: Mapping[str, Any]) -> Binding:
        name = step["ref"]["name"]
        asked = Definition("Engram", story["metadata"]["namespace"], name)
        if not await self._exists(asked):
            raise _awaited(step, StepReason.ENGRAM_NOT_FOUND, f"Engram {name} does not exist", asked)
        template = Definition("EngramTemplate", "", TEMPLATE)
        if not await self._exists(template):
            text = f"the template of Engram {name} does not exist"
            raise _awaited(step, StepReason.TEMPLATE_NOT_FOUND, text, asked, template)
        engram = self.engrams.get(name) or Engram()
        spec = story["spec"]
        if spec.get("pattern") == "realtime" and step in spec["steps"] and engram.executor != STREAM:
            engram = replace(engram, executor=STREAM, timeout_seconds=None)
        return Binding(
            engram_namespace=asked.namespace,
            engram_name=name,
            engram_version="",
            template_name=name,
            template_generation=1,
            default_with=engram.default_with,
            retry_spec=None if engram.retry.retry_on == (TRANSIENT,) else {"retryOn": list(engram.retry.retry_on)},
            retry=engram.retry,
            timeout=None if engram.timeout_seconds is None else timedelta(seconds=engram.timeout_seconds),
            max_inline_size_bytes=engram.max_inline_size_bytes,
            input_schema=engram.input_schema,
            output_schema=engram.output_schema,
            declared_output_keys=engram.declared_output_keys,
            executor=engram.executor,
            shares_store=engram.shares_store,
            cache=engram.cache,
            container=engram.container,
            definition=repr((asked, replace(engram, cache=None))),
        )

    async def _exists(self, definition: Definition) -> bool:
        self.process.check()
        if self.process.known.get(*definition) is not None:
            return True
        return await self.process.call(self.cluster, lambda: self.cluster.get(*definition)) is not None


def _awaited(step: Mapping[str, Any], reason: StepReason, message: str, *definitions: Definition) -> AwaitedError:
    own = (step.get("execution") or {}).get("timeout")
    timeout = parse_positive_duration(own) if own else timedelta(seconds=UNBOUND_SECONDS)
    return AwaitedError(message, reason=reason, limit=TimeoutChoice(timeout, ""), definitions=frozenset(definitions))


async def confirm(cluster: Cluster, process: Process, owner: Object) -> Object:
    """Confirm that the owner of an object that is created again still needs it."""
    stored = await process.call(cluster, lambda: cluster.get(*place_of(owner)))
    if stored is None or stored["metadata"]["uid"] != owner["metadata"]["uid"]:
        raise GoneError(f"{place_of(owner)} has been deleted")
    if stored["metadata"].get("deletionTimestamp"):
        raise GoneError(f"{place_of(owner)} is being deleted")
    process.known.remember(stored)
    if is_overtaken(owner, stored):
        raise StaleError(f"{place_of(owner)} is not at the same attempt any more")
    return stored


async def merge(cluster: Cluster, process: Process, seen: Object, part: str, changes: Mapping[str, Any]) -> Object:
    """Patch the object, with the version that was read as precondition."""
    stored = await process.write(
        cluster, lambda: cluster.patch(process.actor, seen, part, dict(changes)), versioned=True
    )
    process.known.remember(stored)
    return stored


async def delete(cluster: Cluster, process: Process, obj: Object) -> None:
    """Delete exactly this object."""
    uid = obj["metadata"]["uid"]
    left = await process.write(cluster, lambda: cluster.delete(process.actor, place_of(obj), uid=uid))
    if left is None:
        process.known.forget(obj)
    else:
        process.known.remember(left)
