"""Ensures a run's ServiceAccount, Role and RoleBinding.

A new run costs three writes and no read; for a run that has started before, existing objects are read first. The
RoleBinding is created after its Role: an API server refuses a binding to an unknown Role from clients without the
permission ``bind`` for all Roles, and the operator does not have it. Source: StoryRun contract 6.3, StepRun contract
16.
"""

from __future__ import annotations

from typing import Final

import trio

from core.api.objects import Object
from core.api.resource import ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from core.engine.errors import AwaitedError, DeniedError, MissingReferenceError, PortError, RejectedError
from core.engine.ports import EventSink, EventType
from core.fairness.turns import Turns
from core.kube.client import KubeClient
from core.workloads import runner, runner_rules
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.owned_access import OwnedAccess
from reconcilers.adapters.world import step_references

RUNS_ALONE: Final = 16
"""Concurrent runs of a namespace when no other namespace has any. A real API server takes a tenth of a second for a
Role and as long for its binding; most of this it waits for its own cache before it checks permissions. This many runs
hide that.
"""
RUNS_OF_ONE: Final = 8
"""Concurrent runs of one namespace among others."""
RUNS_AT_ONCE: Final = 24
"""Concurrent runs of all namespaces, which take turns."""


class RunnerAccess:
    """The identity of a run's containers."""

    def __init__(self, client: KubeClient, binder: Binder, events: EventSink) -> None:
        self._access = OwnedAccess(client, events)
        self._turns = Turns(RUNS_AT_ONCE, RUNS_OF_ONE, at_once_alone=RUNS_ALONE)
        self._binder = binder
        self._events = events

    async def ensure(self, run: Object, story: Object) -> None:
        """Idempotent.

        Raises:
            NameConflictError: an object of the name belongs to another owner.
            UnavailableError: also while an object of an earlier run of this name still exists.
            DeniedError: a template requests permissions that the operator does not have; the message names rule and
                remedy.
            RejectedError.
        """
        rules = await self._extra_rules(run, story)
        async with self._turns.turn(run["metadata"]["namespace"]):
            await self._ensure_all(run, story, rules)

    async def _ensure_all(self, run: Object, story: Object, rules: list[runner_rules.Rule]) -> None:
        problems: list[PortError] = []
        role, binding = (ROLE, runner.role(run, rules)), (ROLE_BINDING, runner.role_binding(run))
        async with trio.open_nursery() as nursery:
            account = (SERVICE_ACCOUNT, runner.service_account(run, story))
            nursery.start_soon(self._ensure_each, run, [account], problems)
            nursery.start_soon(self._ensure_each, run, [role, binding], problems)
        if problems:
            raise max(problems, key=_gravity)

    async def _extra_rules(self, run: Object, story: Object) -> list[runner_rules.Rule]:
        """The rules of every Engram that the Story refers to; a missing Engram adds nothing. Its step waits for
        it, and then this is done again.
        """
        namespace = run["metadata"]["namespace"]
        rules: list[runner_rules.Rule] = []
        for step in step_references(story):
            try:
                engram, template = await self._binder.definitions(story, step)
            except (AwaitedError, MissingReferenceError):
                continue
            rules += runner_rules.extra_rules(template, engram, namespace)
            for refusal in runner_rules.refusals(template, engram, namespace):
                self._events.emit(run, EventType.WARNING, "RuleRefused", refusal)
        return rules

    async def _ensure_each(self, run: Object, wanted: list[tuple[Resource, Object]], problems: list[PortError]) -> None:
        try:
            await self._access.ensure(run, wanted, is_new=not _has_started(run))
        except PortError as error:
            problems.append(error)


def _gravity(problem: PortError) -> int:
    """The severity of a problem: of several, the one that most needs a person is reported."""
    return 2 if isinstance(problem, RejectedError) else int(isinstance(problem, DeniedError))


def _has_started(run: Object) -> bool:
    return bool((run.get("status") or {}).get("startedAt"))
