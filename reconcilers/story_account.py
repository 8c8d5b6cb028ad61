"""Accounts of Stories: keep those that runs need, with their rights, and remove the others.

A run ensures its account before each container. If somebody removes a binding later, containers that work would not be
able to report, so it is restored here. What binds rights to an account goes with it.

An account is needed while it is the current one of its Story: runs that start now get it. When it ceases to be, because
the Story is gone, or its rules, its annotations or the setting have changed, the runs that have not ended by then may
have containers with it. It is removed after all of these have ended, and not before ``GRACE`` has passed: then no
container of a run that was canceled is left, either. So do runs that started with another version of the Story: one
that had ended may run again, and then it has the account of its version. After a restart, all this begins anew.

The account is marked before it is deleted, and deleted only as long as it has not changed. A run that needs it at this
moment removes the mark, or creates it again, before it creates a workload. Source: StepRun contract 16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.pinned_story import current_revision
from core.api.resource import (
    ENGRAM,
    ENGRAM_TEMPLATE,
    REFERENCE_GRANT,
    ROLE,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
    STORY,
    STORY_RUN,
)
from core.engine.errors import DeniedError, NameConflictError, RejectedError
from core.engine.ports import Clock, EventSink
from core.kube.client import KubeClient
from core.kube.informer import Change
from core.kube.store import ChangeKind
from core.policy.settings import OperatorSettings, RunnerIdentity
from core.workloads.story_runner import StoryRunner, story_of_runner, story_runner
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.requested_rules import requested_rules
from reconcilers.adapters.story_access import StoryAccess
from reconcilers.adapters.world import ENGRAM_KEYS, LIVE_RUNS, STORY_KEY, TEMPLATE_NAME, World, story_key
from reconcilers.adapters.writes import delete, patch_metadata
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.run_changes import no_longer_live
from reconcilers.runtime.changes import spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

GRACE: Final = timedelta(minutes=10)
SETTLED: Final = timedelta(minutes=1)
"""The age of an account whose rights are restored. Before, the run that creates it is about to create them."""
RIGHTS_DELAY: Final = timedelta(seconds=1)
"""Somebody may replace a binding."""
RUNS_DELAY: Final = timedelta(seconds=30)
"""The end of a run is never urgent here, and many runs may end at once."""


@dataclass(frozen=True, slots=True)
class Ceased:
    """An account that is not the current one of its Story."""

    uid: str
    at: datetime
    """When this process noticed it."""
    runs: frozenset[str]
    """UIDs of the runs of the Story that were unfinished then."""


class StoryAccountReconciler:
    """Reconciles one ServiceAccount at a time, by its key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
        events: EventSink,
    ) -> None:
        self._client = client.in_background()
        self._access = StoryAccess(self._client, world, events)
        self._world = world
        self._clock = clock
        self._settings = settings
        self._binder = Binder(self._client, world, settings)
        self._ceased: dict[Key, Ceased] = {}

    async def reconcile(self, key: Key) -> Outcome:
        accounts = self._world.informer(SERVICE_ACCOUNT)
        account = accounts.get(key.namespace, key.name)
        if account is None or is_being_deleted(account) or not story_of_runner(account):  # the last: it is not ours
            self._ceased.pop(key, None)
            return Done()
        live, now = list(self._live_runs(account)), self._clock.now()
        if (wanted := await self._current(account)) is not None:
            self._ceased.pop(key, None)
            made_at = parse_instant_or_none(account["metadata"].get("creationTimestamp"))
            if live and made_at is not None and now >= made_at + SETTLED:
                await self._restore(live[0], wanted)
            return Done()
        ceased = self._ceased.get(key)
        if ceased is None or ceased.uid != account["metadata"]["uid"]:
            ceased = self._ceased[key] = Ceased(account["metadata"]["uid"], now, frozenset(map(_uid, live)))
        if now < ceased.at + GRACE:
            return After(ceased.at + GRACE - now)
        revision = self._revision(account)
        if not any(_uid(run) in ceased.runs or _is_of_another(run, revision) for run in live):
            await self._remove(account)
        return Done()

    async def _restore(self, run: Object, wanted: StoryRunner) -> None:
        with suppress(DeniedError, NameConflictError, RejectedError):  # a run tells these before its next container
            await self._access.ensure(run, wanted)

    async def _remove(self, account: Object) -> None:
        """First the mark, whose event comes back here; then the account, unless somebody has removed the mark."""
        accounts = self._world.informer(SERVICE_ACCOUNT)
        if keys.ANNOTATION_RUNNER_RETIRED in (account["metadata"].get("annotations") or {}):
            await delete(self._client, accounts, SERVICE_ACCOUNT, account, unchanged=True)
        else:
            mark = {"annotations": {keys.ANNOTATION_RUNNER_RETIRED: "true"}}
            await patch_metadata(self._client, accounts, SERVICE_ACCOUNT, account, mark)

    def _revision(self, account: Object) -> str | None:
        """The name of the Story's current version; None: it was deleted."""
        namespace, _, name = story_of_runner(account).partition("/")
        return current_revision(self._world.stories.get(namespace, name))

    async def _current(self, account: Object) -> StoryRunner | None:
        """The account as it must be, if a run of the Story that starts now gets it; else None."""
        if self._settings().runner_identity is not RunnerIdentity.STORY:
            return None
        namespace, _, name = story_of_runner(account).partition("/")
        story = self._world.stories.get(namespace, name)
        if story is None:
            return None
        own = account["metadata"]["namespace"]
        rules, _ = await requested_rules(self._binder, story, own)
        wanted = story_runner(own, story, rules)
        return wanted if wanted.name == account["metadata"]["name"] else None

    def _live_runs(self, account: Object) -> Iterator[Object]:
        for run in self._world.story_runs.each_by_index(LIVE_RUNS, story_of_runner(account)):
            if run["metadata"]["namespace"] == account["metadata"]["namespace"]:
                yield run


def _uid(run: Object) -> str:
    return str(run["metadata"]["uid"])


def _is_of_another(run: Object, revision: str | None) -> bool:
    """Whether the run started with another version of the Story. One that has none yet gets the current one."""
    started_with = (run.get("status") or {}).get("storyRevision")
    return revision is None or bool(started_with and started_with != revision)


def _of_stories(keys: Iterable[str], caches: Caches) -> Iterator[Key]:
    accounts = caches.informer(SERVICE_ACCOUNT)
    for key in keys:
        yield from map(Key.of, accounts.by_index(STORY_KEY, key))


def _of_story(change: Change, caches: Caches) -> Iterator[Key]:
    yield from _of_stories({str(Key.of(story)) for story in versions(change)}, caches)


def _of_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The accounts that may have waited for the end of the run."""
    yield from _of_stories(story_key(change.object), caches)


def _of_engram(change: Change, caches: Caches) -> Iterator[Key]:
    """The accounts of the Stories that refer to the Engram: it may request other rules."""
    yield from _of_stories(_stories_of(versions(change), caches), caches)


def _of_template(change: Change, caches: Caches) -> Iterator[Key]:
    names = {template["metadata"]["name"] for template in versions(change)}
    engrams = (engram for name in names for engram in caches.informer(ENGRAM).by_index(TEMPLATE_NAME, name))
    yield from _of_stories(_stories_of(engrams, caches), caches)


def _of_right(change: Change, caches: Caches) -> Iterator[Key]:
    """The account of a Role or RoleBinding that is gone, or was changed."""
    del caches
    metadata = change.object["metadata"]
    if change.kind is not ChangeKind.ADDED and story_of_runner(change.object):
        for owner in metadata.get("ownerReferences") or ():
            if owner.get("kind") == SERVICE_ACCOUNT.kind:
                yield Key(metadata["namespace"], owner["name"])


def _every_account(change: Change, caches: Caches) -> Iterator[Key]:
    """A grant lets Stories refer to Engrams, whose rules then count."""
    del change
    yield from map(Key.of, caches.informer(SERVICE_ACCOUNT).each())


def _stories_of(engrams: Iterable[Object], caches: Caches) -> set[str]:
    stories = caches.informer(STORY)
    return {str(Key.of(story)) for engram in engrams for story in stories.by_index(ENGRAM_KEYS, str(Key.of(engram)))}


def _build(there: ControllerDependencies) -> Reconcile:
    return StoryAccountReconciler(there.client, there.world, there.clock, there.settings, there.events).reconcile


CONTROLLER: Final = ControllerRegistration(
    "storyaccount",
    SERVICE_ACCOUNT,
    _build,
    options=lambda settings: settings.story,
    watches=(
        Watch(SERVICE_ACCOUNT, own_keys),
        Watch(ROLE, _of_right, delay=RIGHTS_DELAY),
        Watch(ROLE_BINDING, _of_right, delay=RIGHTS_DELAY),
        Watch(STORY, _of_story, when=spec_changed),
        Watch(ENGRAM, _of_engram, when=spec_changed),
        Watch(ENGRAM_TEMPLATE, _of_template, when=spec_changed),
        Watch(REFERENCE_GRANT, _every_account),
        Watch(STORY_RUN, _of_run, when=no_longer_live, delay=RUNS_DELAY),
    ),
    permissions=(
        Permission(
            SERVICE_ACCOUNT,
            ("delete",),
            "Removes the account of a Story that no run needs any more.",
            seldom="Only ten minutes after the Story is gone, or its containers need other rights.",
        ),
    ),
    enqueue_when_settings_change=True,
)
