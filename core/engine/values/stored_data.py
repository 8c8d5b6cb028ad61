"""Expressions that read data in object storage, and large values that are put there.

A plain path passes a reference on, and its receiver reads the data. Data that a condition or a larger template needs is
fetched before the evaluation: by the operator itself, where the reference starts a StepRun for that.
Source: StoryRun contract 12, in the improved form; templating contract 6.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any, Final, TypeAlias

import trio

from core.api import keys
from core.api.objects import Object
from core.api.phases import Reason
from core.engine.calls import Pace
from core.engine.engine_context import EngineContext
from core.engine.errors import NoStoreError, RejectedError, StorageUnavailableError
from core.engine.payload_port import Offload, StoredAs
from core.engine.ports import StepError
from core.engine.step.manifest import size_bytes
from core.evaluation.asker import Asker
from core.evaluation.evaluator import Failure, NotYet, Value
from core.expressions import analysis
from core.expressions.paths import has_reference, is_reference
from core.expressions.references import References
from core.policy.settings import OffloadedDataPolicy

Answer: TypeAlias = Value | NotYet | Failure


@dataclass(frozen=True, slots=True)
class _Seen:
    """The variables for one evaluation of an expression."""

    variables: Mapping[str, Any]
    whole: Mapping[str, Any] | None = None
    """The variables with the fetched data, for everything that is not a plain path; None: nothing has been fetched."""
    stored: frozenset[str] = frozenset()
    """Variables beside ``steps`` that have a part in object storage."""


NOTIFIED_AFTER_SECONDS: Final = 5.0
"""A shorter outage of the store is not reported."""
MAX_DEPTH: Final = 128
_FORBIDDEN: Final = "the operator may not read it (templating.offloaded-data-policy: error); read it in a step"


class StoredData:
    """Evaluates the expressions of one run over data in object storage."""

    def __init__(self, engine: EngineContext, story: Object, run: Object) -> None:
        self._evaluator = engine.evaluator
        self._payloads = engine.payloads
        self._settings = engine.settings
        self._clock = engine.clock
        self._namespace = str(run["metadata"]["namespace"])
        annotations = (story.get("metadata") or {}).get("annotations") or {}
        self._fetches_all = str(annotations.get(keys.ANNOTATION_CONTROLLER_RESOLVE) or "").strip().lower() == "true"
        execution = ((story.get("spec") or {}).get("policy") or {}).get("execution")
        depth = execution.get("maxRecursionDepth") if isinstance(execution, Mapping) else None
        self._depth = depth if isinstance(depth, int) and depth > 0 else 0
        self._checked_inputs: Any = None
        self._stores_inputs = False

    @property
    def policy(self) -> OffloadedDataPolicy:
        return OffloadedDataPolicy.CONTROLLER if self._fetches_all else self._settings.offloaded_data()

    def leaves_to_container(self, error: StepError) -> bool:
        """Whether the SDK has to resolve the inputs of a step, because the operator cannot read their stored data."""
        return error.offloaded and self.policy is OffloadedDataPolicy.INJECT

    async def value(
        self, value: Any, variables: Mapping[str, Any], pace: Pace, asker: Asker, *, field: str, finished: bool
    ) -> Answer:
        """See ``Evaluator.resolve``. Plain paths pass references on, unless the policy is to fetch everything."""

        async def resolve(seen: _Seen) -> Answer:
            return await self._evaluator.resolve(
                value,
                seen.variables,
                field=field,
                finished=finished,
                whole=seen.whole,
                stored=seen.stored,
                asker=asker,
            )

        async def reads() -> References:
            return await self._evaluator.analyse(analysis.references_of, value, asker=asker)

        return await self._answer(resolve, variables, reads, pace, None)

    async def condition(
        self,
        text: str,
        variables: Mapping[str, Any],
        pace: Pace,
        asker: Asker,
        *,
        field: str,
        finished: bool,
        until: datetime | None = None,
    ) -> Answer:
        """See ``Evaluator.condition``.

        Raises:
            StorageUnavailableError: the store did not answer before ``until``; without ``until``, this retries without
                limit.
        """

        async def decide(seen: _Seen) -> Answer:
            known, stored = (seen.variables, seen.stored) if seen.whole is None else (seen.whole, frozenset[str]())
            return await self._evaluator.condition(
                text, known, field=field, finished=finished, stored=stored, asker=asker
            )

        async def reads() -> References:
            return await self._evaluator.analyse(analysis.condition_references, text, asker=asker)

        return await self._answer(decide, variables, reads, pace, until)

    async def _answer(
        self,
        evaluate: Callable[[_Seen], Awaitable[Answer]],
        variables: Mapping[str, Any],
        reads: Callable[[], Awaitable[References]],
        pace: Pace,
        until: datetime | None,
    ) -> Answer:
        """The result of ``evaluate`` over ``variables``; the data that it ``reads`` is fetched if necessary."""
        policy = self.policy
        stored = frozenset({"inputs"}) if self._is_stored(variables.get("inputs")) else frozenset[str]()
        if policy is OffloadedDataPolicy.INJECT:
            answer = await evaluate(_Seen(variables, stored=stored))
            if not (isinstance(answer, Failure) and answer.offloaded):
                return answer
        elif not has_reference(variables):
            return await evaluate(_Seen(variables))
        else:
            answer = Failure(Reason.EXPRESSION_FAILED, "it reads data in object storage", offloaded=True)
        read = _read(variables, await reads())
        if policy is OffloadedDataPolicy.ERROR and has_reference(read.get("steps")):
            return replace(answer, offloaded=False, message=f"{answer.message}; {_FORBIDDEN}")
        if not has_reference(read):
            return await evaluate(_Seen(variables))
        try:
            fetched = {root: await self._fetched(root, value, pace, until) for root, value in read.items()}
        except RejectedError as error:
            nowhere = isinstance(error, NoStoreError)
            if nowhere and stored:  # it may read only inputs that are not in object storage
                plain = await evaluate(_Seen(variables))
                if not isinstance(plain, Failure):
                    return plain
            return replace(answer, offloaded=nowhere, message=f"{answer.message}; it cannot be fetched here: {error}")
        if "steps" in fetched:
            fetched["steps"] = {**variables["steps"], **fetched["steps"]}
        whole = {**variables, **fetched}
        passes_on = policy is not OffloadedDataPolicy.CONTROLLER
        return await evaluate(_Seen(variables, whole, stored) if passes_on else _Seen(whole))

    async def whole(self, value: Any, field: str, pace: Pace) -> Any | Failure:
        """``value`` with its content, which the engine itself needs: if it is a reference, the data is fetched."""
        if not is_reference(value):
            return value
        if self.policy is OffloadedDataPolicy.ERROR:
            return Failure(Reason.EXPRESSION_FAILED, f"{field} is in object storage; {_FORBIDDEN}")
        try:
            return await self._fetch(value, field, pace, None)
        except RejectedError as error:
            return Failure(Reason.EXPRESSION_FAILED, f"{field} is in object storage: {error}")

    async def all_of(self, value: Any, field: str, pace: Pace) -> Any | Failure:
        """``value`` with all data that it refers to, for a container that cannot read references."""
        if not has_reference(value):
            return value
        if self.policy is OffloadedDataPolicy.ERROR:
            return Failure(Reason.EXPRESSION_FAILED, f"{field} refers to data in object storage; {_FORBIDDEN}")
        try:
            return await self._fetch(value, field, pace, None)
        except RejectedError as error:
            text = f"{field} refers to data in object storage, which a container without an SDK cannot read: {error}"
            return Failure(Reason.EXPRESSION_FAILED, text)

    async def inputs(self, value: Any, pace: Pace) -> Any | Failure:
        """The inputs of the run, to be checked: with the data that they refer to, if the operator has an object
        store.
        """
        if not has_reference(value):
            return value
        try:
            return await self._fetch(value, "spec.inputs", pace, None)
        except NoStoreError:
            return value
        except RejectedError as error:
            return Failure(Reason.VALIDATION_FAILED, str(error))

    async def offloaded(
        self,
        value: Any,
        stored_as: StoredAs,
        owner: str,
        pace: Pace,
        *,
        total_bytes: int,
        inline_bytes: int,
        field: str,
    ) -> Any:
        """``value`` of ``owner``, a run or StepRun; large parts are stored if it is larger than ``total_bytes``.

        Waits for a store that does not answer.

        Raises:
            NoStoreError: the value is too large, and the operator has no object store.
            RejectedError: it cannot be written as JSON.
        """
        if size_bytes(value) <= total_bytes:
            return value
        inline_bytes, depth = min(inline_bytes, total_bytes), self._depth_of_data()
        wanted = Offload(stored_as, self._namespace, owner, total_bytes, inline_bytes, depth)
        return await self._patiently(lambda: self._payloads.offload(value, wanted, field=field), pace, None)

    async def own_inputs(self, value: Any, owner: str, pace: Pace) -> Any | Failure:
        """``value`` as it was before ``offloaded`` stored parts of it for ``owner``; other references stay."""
        if not has_reference(value):
            return value
        below = f"{StoredAs.INPUTS}/{self._namespace}/{owner}/"
        try:
            return await self._patiently(
                lambda: self._payloads.fetch(
                    value, namespace=self._namespace, field="spec.input", depth=MAX_DEPTH, below=below
                ),
                pace,
                None,
            )
        except RejectedError as error:
            return Failure(Reason.EXPRESSION_FAILED, f"spec.input of StepRun {owner} cannot be read: {error}")

    def _is_stored(self, inputs: Any) -> bool:
        """Whether the inputs of the run, which never change, contain a reference."""
        if self._checked_inputs is not inputs:
            self._checked_inputs, self._stores_inputs = inputs, has_reference(inputs)
        return self._stores_inputs

    async def _fetched(self, root: str, value: Any, pace: Pace, until: datetime | None) -> Any:
        if root != "steps":
            return await self._fetch(value, root, pace, until)
        found: dict[int, Any] = {}
        for name, entry in value.items():
            if id(entry) not in found:  # a step is listed under its aliases, too
                found[id(entry)] = await self._entry(name, entry, pace, until)
        return {name: found[id(entry)] for name, entry in value.items()}

    async def _entry(self, name: str, entry: Mapping[str, Any], pace: Pace, until: datetime | None) -> Object:
        fetched: Object = {}
        for key, value in entry.items():
            known = key == "outputs" and value is entry.get("output")
            fetched[key] = fetched["output"] if known else await self._fetch(value, f"steps.{name}.{key}", pace, until)
        return fetched

    async def _fetch(self, value: Any, field: str, pace: Pace, until: datetime | None) -> Any:
        return await self._patiently(lambda: self._fetched_once(value, field, until), pace, until)

    async def _patiently(self, call: Callable[[], Awaitable[Any]], pace: Pace, until: datetime | None) -> Any:
        """The result of ``call``, which is repeated while the store does not answer; an outage is reported.

        Raises:
            StorageUnavailableError: the store did not answer before ``until``.
        """
        started_at = trio.current_time()
        while True:
            try:
                result = await call()
            except StorageUnavailableError as error:
                if until is not None and self._clock.now() >= until:
                    raise
                is_reported = trio.current_time() - started_at >= NOTIFIED_AFTER_SECONDS
                seconds = pace.next_seconds(error if is_reported else None)
                await trio.sleep(min(seconds, self._seconds_to(until)))
            else:
                pace.reset()
                return result

    async def _fetched_once(self, value: Any, field: str, until: datetime | None) -> Any:
        depth = self._depth_of_data()
        with trio.move_on_after(self._seconds_to(until)):
            return await self._payloads.fetch(value, namespace=self._namespace, field=field, depth=depth)
        raise StorageUnavailableError(f"the data that {field} refers to could not be read in time")

    def _depth_of_data(self) -> int:
        return min(self._depth or self._settings.max_recursion_depth(), MAX_DEPTH)

    def _seconds_to(self, instant: datetime | None) -> float:
        return inf if instant is None else max((instant - self._clock.now()).total_seconds(), 0.0)


def _read(variables: Mapping[str, Any], references: References) -> dict[str, Any]:
    """The part of the variables that an expression may read, as far as that is known."""
    steps = variables.get("steps")
    found = {root: value for root, value in variables.items() if root in references.roots and root != "steps"}
    if isinstance(steps, Mapping):
        whole = references.unknown_steps
        found["steps"] = {name: entry for name, entry in steps.items() if whole or name in references.steps}
    return found
