"""Ensures the ServiceAccount of a run's containers and its rights.

The account is the Story's, for all its runs: only the first one writes. With ``controller.runner-identity: run``, each
run has a ServiceAccount, a Role and a RoleBinding: a new run costs three writes and no read; for a run that has started
before, existing objects are read first. The RoleBinding is created after its Role: an API server refuses a binding to
an unknown Role from clients without the permission ``bind`` for all Roles, and the operator does not have it. Source:
StoryRun contract 6.3, StepRun contract 16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from bubu_contract.identity import runner_name
from core.api.objects import Object
from core.api.resource import ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from core.engine.errors import DeniedError, PortError, RejectedError
from core.engine.ports import EventSink, EventType
from core.fairness.turns import Turns
from core.kube.client import KubeClient
from core.policy.settings import OperatorSettings, RunnerIdentity
from core.workloads import runner
from core.workloads.runner_rules import Rule
from core.workloads.story_runner import StoryRunner, story_runner
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.owned_access import OwnedAccess
from reconcilers.adapters.requested_rules import requested_rules
from reconcilers.adapters.story_access import StoryAccess
from reconcilers.adapters.world import World

RUNS_ALONE: Final = 16
"""Concurrent runs of a namespace when no other namespace has any. A real API server takes a tenth of a second for a
Role and as long for its binding; most of this it waits for its own cache before it checks permissions. This many runs
hide that.
"""
RUNS_OF_ONE: Final = 8
"""Concurrent runs of one namespace among others."""
RUNS_AT_ONCE: Final = 24
"""Concurrent runs of all namespaces, which take turns."""
RUNS_REMEMBERED: Final = 4096
"""For the others, the rules of their Engrams are read again before each container."""


class RunnerAccess:
    """The identity of the containers of all runs, as ``controller.runner-identity`` wants it.

    A run keeps the identity that it has got from this process, so a change of the setting concerns later runs, and
    those that another process resumes. The account of a Pod that is alive does not matter.
    """

    def __init__(
        self,
        client: KubeClient,
        world: World,
        binder: Binder,
        events: EventSink,
        settings: Callable[[], OperatorSettings],
    ) -> None:
        self._of_runs = OwnedAccess(client, events)
        self._of_stories = StoryAccess(client, world, events)
        self._turns = Turns(RUNS_AT_ONCE, RUNS_OF_ONE, at_once_alone=RUNS_ALONE)
        self._binder = binder
        self._events = events
        self._settings = settings
        self._chosen: dict[str, StoryRunner | str] = {}
        """UID of a run → the Story's identity, or the name of the run's own account."""

    async def ensure(self, run: Object, story: Object) -> None:
        """Idempotent. The rules that Engrams request are read again.

        Raises:
            NameConflictError: an object of the name belongs to another owner.
            UnavailableError: also while an object of an earlier run of this name still exists.
            DeniedError: a template requests permissions that the operator does not have; the message names rule and
                remedy.
            RejectedError.
        """
        rules, refused = await requested_rules(self._binder, story, run["metadata"]["namespace"])
        for refusal in refused:
            self._events.emit(run, EventType.WARNING, "RuleRefused", refusal)
        chosen: StoryRunner | str = runner_name(run["metadata"]["name"])
        if self._settings().runner_identity is RunnerIdentity.STORY:
            chosen = story_runner(run["metadata"]["namespace"], story, rules)
            await self._ensure_of_story(run, chosen)
        else:
            async with self._turns.turn(run["metadata"]["namespace"]):
                await self._ensure_all(run, story, rules)
        self._remember(run, chosen)

    async def account_of(self, run: Object, story: Object) -> str:
        """The name of the account of a container that is about to start. The Story's account is there then, also if
        somebody has deleted it since the run began.

        Raises: as ``ensure``.
        """
        chosen = self._chosen.get(run["metadata"]["uid"])
        if chosen is None:
            await self.ensure(run, story)
            chosen = self._chosen[run["metadata"]["uid"]]
        elif isinstance(chosen, StoryRunner):
            await self._ensure_of_story(run, chosen)
        return chosen.name if isinstance(chosen, StoryRunner) else chosen

    async def _ensure_of_story(self, run: Object, wanted: StoryRunner) -> None:
        if not self._of_stories.is_there(wanted):
            async with self._turns.turn(wanted.namespace):
                await self._of_stories.ensure(run, wanted)

    def _remember(self, run: Object, chosen: StoryRunner | str) -> None:
        uid = run["metadata"]["uid"]
        self._chosen.pop(uid, None)
        self._chosen[uid] = chosen
        if len(self._chosen) > RUNS_REMEMBERED:
            del self._chosen[next(iter(self._chosen))]

    async def _ensure_all(self, run: Object, story: Object, rules: list[Rule]) -> None:
        problems: list[PortError] = []
        role, binding = (ROLE, runner.role(run, rules)), (ROLE_BINDING, runner.role_binding(run))
        async with trio.open_nursery() as nursery:
            account = (SERVICE_ACCOUNT, runner.service_account(run, story))
            nursery.start_soon(self._ensure_each, run, [account], problems)
            nursery.start_soon(self._ensure_each, run, [role, binding], problems)
        if problems:
            raise max(problems, key=_gravity)

    async def _ensure_each(self, run: Object, wanted: list[tuple[Resource, Object]], problems: list[PortError]) -> None:
        try:
            await self._of_runs.ensure(run, wanted, is_new=not _has_started(run))
        except PortError as error:
            problems.append(error)


def _gravity(problem: PortError) -> int:
    """The severity of a problem: of several, the one that most needs a person is reported."""
    return 2 if isinstance(problem, RejectedError) else int(isinstance(problem, DeniedError))


def _has_started(run: Object) -> bool:
    return bool((run.get("status") or {}).get("startedAt"))
