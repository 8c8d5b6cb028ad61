"""Where and when a review is examined: in fair order, without delaying others, and again when a missing object arrives.

A small review is examined on the event loop, between two others. If it takes much processor time, it starts again in a
process of its own; large reviews start there. What the first review of a kind must build does not count, nor does the
time for which a busy machine ran other programs: another process would only take longer. An examination has no effects,
so a second start costs time only.

A review that waits for an object that was created a moment ago does not occupy a turn. Nor does one that waits for the
answer whether the Secrets exist that the object names: the operator does not watch Secrets, so it asks the API server
for each. If one is missing, the object is examined once more, for the warning.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from core.api.objects import NamespacedName, ReadOnlyObject
from core.api.resource import SECRET, Resource
from core.evaluation.pool import OverLimitError, WorkerLimits, WorkerPool
from core.fairness.turns import CrowdedError, Turns
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from webhooks import decision, remote_view, review_process
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.decision import ReviewDecision
from webhooks.limits import ReviewLimits
from webhooks.registration import Hook
from webhooks.review import Review
from webhooks.setup import AdmissionSetup

_PROGRAM: Final = str(Path(review_process.__file__).resolve())

_Key = tuple[Resource, str, str]


class ReviewUnavailableError(Exception):
    """The review cannot be examined now, independent of its content; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """A review and the bytes from which it was read."""

    hook: Hook
    review: Review
    raw: bytes

    @property
    def caller(self) -> tuple[str, str]:
        """The key for turns: a user in a namespace."""
        return self.review.username, self.review.namespace


class ReviewExecutor:
    """Examines reviews with the objects that an admission server knows."""

    def __init__(self, setup: AdmissionSetup, limits: ReviewLimits) -> None:
        self._setup = setup
        self._limits = limits
        self._small = Turns(1, 1, limits.waiting, limits.waiting_of_one)
        self._large = Turns(
            limits.workers, max(1, limits.workers - 1), limits.waiting_large, limits.waiting_large_of_one
        )
        # The API server waits in wall time, so wall time has the same limit as processor time.
        worker_limits = WorkerLimits(limits.worker_seconds, limits.worker_bytes, limits.workers, patience=1.0)
        self._pool = WorkerPool(lambda: worker_limits, _PROGRAM)
        self._patient = 0

    async def keep_warm(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a process ready until cancelled; otherwise each large review starts its own."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pool.keep_warm)
            task_status.started()
            with suppress(OverLimitError):  # on a machine that is so busy, the first large review may try again
                await self._pool.ask({})

    async def examine(self, question: ReviewRequest) -> ReviewDecision:
        """The decision. A denial because of missing objects is only final after they had time to arrive.

        Raises:
            CrowdedError: too many reviews wait for their turn.
            ReviewUnavailableError: the process of the review ended, could not be started, or got no processor.
        """
        view = _Seen(self._setup.world())
        found = await self._look(question, view)
        if self._patient < self._limits.patient:
            self._patient += 1
            try:
                view, found = await self._look_again(question, view, found)
            finally:
                self._patient -= 1
        return found if found.is_denial else await self._with_secrets(question, view, found)

    async def _with_secrets(self, question: ReviewRequest, view: _Seen, found: ReviewDecision) -> ReviewDecision:
        """The decision, with a warning about each Secret that does not exist."""
        wanted = list(dict.fromkeys(view.secrets))[: self._limits.secrets]
        missing = frozenset(await self._setup.missing_secrets(wanted)) if wanted else frozenset()
        if not missing:
            return found
        try:
            return await self._look(question, _Seen(self._setup.world(), missing))
        except CrowdedError:
            return found  # it lacks a warning, which is better than no answer

    async def _look_again(
        self, question: ReviewRequest, view: _Seen, found: ReviewDecision
    ) -> tuple[_Seen, ReviewDecision]:
        """Examine again each time a missing object arrives, while that may still change the decision."""
        until = trio.current_time() + self._limits.patience_seconds
        while found.may_change and view.missed:
            with trio.CancelScope(deadline=until) as waiting:
                await self._wait_for(view.missed)
            if waiting.cancelled_caught:
                break
            view = _Seen(self._setup.world())
            try:
                found = await self._look(question, view)
            except CrowdedError:
                break  # the earlier decision is an answer, too
        return view, found

    async def _wait_for(self, missed: Collection[_Key]) -> None:
        """Checks before it waits. Nothing else runs between the check and the wait, so no change is missed."""
        while all(self._setup.world().find(*key) is Unseen.MISSING for key in missed):
            await self._setup.changed()

    async def _look(self, question: ReviewRequest, view: _Seen) -> ReviewDecision:
        if self._is_small(question.raw):
            async with self._small.turn(question.caller):
                await trio.lowlevel.checkpoint()  # other reviews can join the queue meanwhile
                decision.prepare(question.hook, question.review)
                view.until = time.thread_time() + self._limits.loop_seconds
                try:
                    return decision.decide(question.hook, question.review, view, self._setup.operator)
                except _TooLongError:
                    view.until = None
        async with self._large.turn(question.caller):
            return await self._ask(question, view)

    def _is_small(self, raw: bytes) -> bool:
        return len(raw) <= self._limits.loop_bytes and raw.count(b"{{") <= self._limits.loop_templates

    async def _ask(self, question: ReviewRequest, view: _Seen) -> ReviewDecision:
        asked: dict[str, Any] = {
            "hook": question.hook.path,
            "review": orjson.Fragment(question.raw),
            "operator": self._setup.operator,
            **remote_view.facts_of(view),
        }
        try:
            answer = await self._pool.ask(asked, lambda wanted: remote_view.answer_from(view, wanted))
        except OverLimitError as error:
            if error.limit in ("busy", "crash"):
                raise ReviewUnavailableError(f"the review {error}; try again") from None
            return decision.too_costly(f"to check this {error}")
        return decision.from_json(answer)


class _TooLongError(Exception):
    """The examination takes so long that it would delay others."""


class _Seen:
    """A view that records missing objects and unknown Secrets, and interrupts an examination that takes too long.

    ``missing``: Secrets that do not exist.
    """

    def __init__(self, world: ClusterView, missing: frozenset[NamespacedName] = frozenset()) -> None:
        self._world = world
        self._missing = missing
        self.missed: set[_Key] = set()
        self.secrets: list[NamespacedName] = []
        self.until: float | None = None

    @property
    def settings(self) -> OperatorSettings:
        return self._world.settings

    @property
    def policy(self) -> CrossNamespacePolicy | Unseen:
        return self._world.policy

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        if self.until is not None and time.thread_time() > self.until:
            raise _TooLongError
        found = self._world.find(resource, namespace, name)
        if found is Unseen.MISSING:
            self.missed.add((resource, namespace, name))
        if found is Unseen.UNKNOWN and resource is SECRET:
            key = NamespacedName(namespace, name)
            self.secrets.append(key)
            return Unseen.MISSING if key in self._missing else found
        return found

    def grants(self, namespace: str) -> Sequence[ReadOnlyObject]:
        return self._world.grants(namespace)
