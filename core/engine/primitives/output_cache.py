"""The output cache of one Engram step: asked before each attempt, and filled by each success.

A cache makes runs faster; no run fails or waits because of it. An entry that cannot be read is reported and ignored,
and a store that does not answer costs a few seconds. Data of an output that is in object storage is copied, into the
cache and out of it, so that neither a run nor the cache depends on the objects of another. Source: StepRun contract 20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from bubu_contract.canonical import NotJsonError
from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object
from core.engine.calls import committed
from core.engine.context.step_context import StepContext
from core.engine.errors import NoStoreError, RejectedError, StorageUnavailableError
from core.engine.payload_port import StoredAs
from core.engine.ports import AttemptOrder, Binding, EventType
from core.engine.primitives.earlier_output import EarlierOutputs, cache_policy, ignores_entries
from core.engine.primitives.output_copies import OutputCopies
from core.engine.values.schema import why_invalid
from core.evaluation.evaluator import Value
from core.expressions.paths import has_reference
from core.telemetry import catalogue, metrics
from core.workloads.output_cache import (
    CacheEntry,
    CacheEntryError,
    CacheRules,
    CacheSubject,
    digest_of_container,
    digest_of_inputs,
    digest_of_key,
    read_entry,
)

PATIENCE_SECONDS: Final = 5.0
"""For one look into the store, or one write."""
_ENTRY_BYTES: Final = 3 * 1024 * 1024
"""Size of an entry with data from other objects in it. The operator reads objects of up to 4 MiB."""
_PART_BYTES: Final = 64 * 1024
"""What is larger leaves an entry that would be too large."""


@dataclass(frozen=True, slots=True)
class CachedOutput:
    """The output of an earlier, equal execution."""

    output: Any
    source: Mapping[str, Any]
    """``status.cachedFrom``."""
    step_run: Object
    """The StepRun that gets it, in its newest version."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the result of this execution belongs."""

    rules: CacheRules
    digest: str
    subject: CacheSubject

    @property
    def object_key(self) -> str:
        return self.subject.object_key(self.digest)

    @property
    def annotations(self) -> dict[str, str | None]:
        ttl = str(self.rules.ttl_seconds) if self.rules.ttl_seconds else None
        return {
            keys.ANNOTATION_CACHE_KEY: self.digest,
            keys.ANNOTATION_CACHE_MODE: self.rules.mode,
            keys.ANNOTATION_CACHE_TTL: ttl,
        }


class OutputCache:
    """The cache as one step uses it."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._earlier = EarlierOutputs(context)
        self._copies = OutputCopies(context)
        self._work = context.engine.equal_work
        self._who = f"{context.namespace}/{context.run_name}/{context.step.name}"
        self._taken = ""

    async def look_up(self, order: AttemptOrder, binding: Binding) -> CachedOutput | AttemptOrder | None:
        """The cached output; else the order with which to start, whose StepRun has what ``keep`` needs. None: an equal
        step has ended meanwhile, look again. For a step without an output, nothing is looked up.
        """
        if not self._context.step.has_output:
            await trio.lowlevel.checkpoint()
            return order
        reused = await self._earlier.look_up(order, binding)
        if reused is not None:
            marked = await self._annotated(order.step_run, {keys.ANNOTATION_CACHE_STATUS: "hit"})
            return CachedOutput(reused.output, reused.source, marked)
        place = await self._place(order, binding) if order.is_resolved else None
        if place is None:
            return order
        if place.rules.reads and not ignores_entries(self._context.run):
            found = await self._found(place, order.step_run, binding)
            result = "miss" if found is None else "hit"
            counter, namespace = catalogue.STEP_RUN_CACHE_LOOKUPS, place.subject.namespace
            metrics.count(counter, namespace=namespace, engram=place.subject.engram, result=result)
            if found is not None:
                self.end()
                shown = {**place.annotations, keys.ANNOTATION_CACHE_STATUS: "hit"}
                return replace(found, step_run=await self._annotated(order.step_run, shown))
            if place.rules.writes and place.rules.waits and not await self._is_first(place):
                return None
        marked = await self._annotated(order.step_run, place.annotations)
        return replace(order, step_run=marked, deadline_at=binding.deadline_from(self._context.now()))

    async def keep(self, step_run: Object, binding: Binding | None) -> Object:
        """Store the output of a success, if its attempt has left the annotations for that. Returns the StepRun, which
        shows that it is stored.
        """
        if binding is None or not self._context.step.has_output:
            return step_run
        output, place = (step_run.get("status") or {}).get("output"), self._recorded_place(step_run, binding)
        if place is None or not place.rules.writes or not output:
            return step_run
        is_stored = False
        with trio.move_on_after(PATIENCE_SECONDS) as patience:
            is_stored = await self._keep(place, step_run, output)
        if patience.cancelled_caught:
            self._report("is not cached: the store did not answer in time", step_run)
        if not is_stored:
            return step_run
        stored = await self._annotated(step_run, {keys.ANNOTATION_CACHE_STATUS: "stored"})
        return {**stored, "status": step_run.get("status")}  # its output may not be stored yet

    def end(self) -> None:
        """Let equal steps go on: this one has ended, or does not execute now."""
        if self._taken:
            self._work.end(self._taken, self._who)
            self._taken = ""

    async def _is_first(self, place: _Place) -> bool:
        """Whether this step is to execute. If not, wait until the one that does has ended."""
        who = self._work.begin(place.object_key, self._who)
        if who == self._who:
            self._taken = place.object_key
            return True
        self._context.set_message(f"waits for the output of an equal step: {who}")
        await self._work.ended(place.object_key)
        return False

    async def _annotated(self, step_run: Object, wanted: Mapping[str, str | None]) -> Object:
        has = step_run["metadata"].get("annotations") or {}
        if all(has.get(name) == value for name, value in wanted.items()):
            return step_run
        write = self._context.engine.step_runs.patch_step_run_metadata
        return await committed(write, step_run, {"annotations": dict(wanted)})

    async def _place(self, order: AttemptOrder, binding: Binding) -> _Place | None:
        step_run = order.step_run
        inputs = order.inputs if order.whole_inputs is None else order.whole_inputs
        rules = CacheRules.of(cache_policy(step_run, binding))
        if rules is None:
            return None
        try:
            subject = self._subject(step_run, binding)
            if binding.container is not None:
                call = None if rules.key.strip() else order.container
                subject = replace(subject, container=digest_of_container(binding.container, call))
            if rules.key.strip():
                digest = digest_of_key(subject, rules, await self._rendered(rules.key, step_run, inputs, subject))
            else:
                digest = digest_of_inputs(subject, rules, inputs)
        except (CacheEntryError, NotJsonError) as error:
            self._report(f"is not cached: {error}", step_run)
            return None
        return _Place(rules, digest, subject)

    def _subject(self, step_run: Object, binding: Binding) -> CacheSubject:
        return CacheSubject(
            self._context.namespace,
            binding.engram_name,
            binding.engram_version,
            str(step_run["spec"]["stepId"]),
            binding.image,
        )

    async def _rendered(self, template: str, step_run: Object, inputs: Any, subject: CacheSubject) -> Any:
        variables = {
            "inputs": inputs,
            "step": {
                "id": step_run["spec"]["stepId"],
                "run": step_run["metadata"]["name"],
                "story": self._context.run_name,
            },
            "engram": {"name": subject.engram, "version": subject.version},
        }
        answer = await self._context.engine.evaluator.resolve(
            template, variables, field="cache.key", finished=True, asker=self._context.asker()
        )
        if isinstance(answer, Value):
            return answer.value
        raise CacheEntryError(getattr(answer, "message", "cache.key has no value"))

    def _recorded_place(self, step_run: Object, binding: Binding) -> _Place | None:
        annotations = step_run["metadata"].get("annotations") or {}
        digest = str(annotations.get(keys.ANNOTATION_CACHE_KEY) or "")
        if not digest:
            return None
        ttl = str(annotations.get(keys.ANNOTATION_CACHE_TTL) or "")
        policy = {
            "mode": annotations.get(keys.ANNOTATION_CACHE_MODE),
            "ttlSeconds": int(ttl) if ttl.isascii() and ttl.isdigit() and len(ttl) < 10 else 0,
        }
        rules = CacheRules.of(policy)
        assert rules is not None, "it is not disabled"
        subject = self._subject(step_run, binding)
        return _Place(rules, digest, subject)

    async def _found(self, place: _Place, step_run: Object, binding: Binding) -> CachedOutput | None:
        try:
            with trio.move_on_after(PATIENCE_SECONDS):
                return await self._read(place, step_run, binding)
            self._report("was not looked up in the cache: the store did not answer in time")
        except (StorageUnavailableError, NoStoreError) as error:
            self._report(f"was not looked up in the cache: {error}")
        except (CacheEntryError, RejectedError) as error:
            self._report(f"has a cache entry that is ignored, {place.object_key}: {error}")
        return None

    async def _read(self, place: _Place, step_run: Object, binding: Binding) -> CachedOutput | None:
        context, payloads = self._context, self._context.engine.payloads
        content = await payloads.read_object(place.object_key, namespace=place.subject.namespace)
        if content is None:
            return None
        entry = read_entry(content)
        if not entry.is_fresh(context.now()):
            return None
        output = await self._copies.whole(entry.output)
        if binding.output_schema is not None:
            problem = await why_invalid(context.engine.evaluator, binding.output_schema, output, context.asker())
            if problem is not None:
                raise CacheEntryError(f"its output breaks the schema: {problem}")
        output = await self._copies.for_step_run(output, step_run["metadata"]["name"], binding)
        return CachedOutput(output, _source(place, entry), step_run)

    async def _keep(self, place: _Place, step_run: Object, output: Any) -> bool:
        context, payloads = self._context, self._context.engine.payloads
        try:
            if has_reference(output):
                whole = await self._copies.whole(output)
                output = await self._copies.offloaded(
                    whole, StoredAs.CACHE, place.subject.owner, _ENTRY_BYTES, _PART_BYTES
                )
            output = await self._copies.with_files(output, place.subject.folder)
            entry = CacheEntry(
                output, context.now(), place.rules.ttl_seconds, context.run_name, step_run["metadata"]["name"]
            )
            await payloads.write_object(place.object_key, entry.encoded(), namespace=place.subject.namespace)
        except (RejectedError, StorageUnavailableError, NotJsonError) as error:
            self._report(f"is not cached: {error}", step_run)
            return False
        return True

    def _report(self, text: str, step_run: Object | None = None) -> None:
        text = f"the output of step {self._context.step.name!r} {text}"
        self._context.emit(EventType.WARNING, "OutputCacheUnavailable", text, step_run)


def _source(place: _Place, entry: CacheEntry) -> dict[str, Any]:
    source: dict[str, Any] = {"key": place.digest}
    if entry.created_at is not None:
        source["storedAt"] = format_instant(entry.created_at)
    if entry.step_run:
        source |= {"storyRun": entry.story_run, "stepRun": entry.step_run}
    return source
