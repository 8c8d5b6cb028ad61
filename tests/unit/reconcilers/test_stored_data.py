"""What a run has stored goes with the run, and what others refer to stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import httpx
import orjson
import pytest
import trio
from trio.testing import MockClock

from core.api.keys import ANNOTATION_KEEP_STORED_DATA, FINALIZER_STORY_RUN
from core.api.objects import Object
from core.api.resource import JOB, POD, STEP_RUN, STORY, STORY_RUN, STORY_TRIGGER
from core.engine.errors import RejectedError, StorageUnavailableError
from core.kube.errors import KubeError
from core.ownership.ownership import OwnedKey
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.store import Store
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome, RetryLater
from reconcilers.stored_data import GIVE_UP_AFTER, YOUNG, StoredDataReconciler, step_runs_of
from tests.unit.core.payloads.memory_store import MemoryStore
from tests.unit.reconcilers.memory_server import MemoryServer, open_process, refused
from tests.unit.reconcilers.reconciler_samples import NOW, RecordedEvents, clock, job, pod, run, step_run, stored

_Answer = TypeVar("_Answer")

KINDS = (STORY, STORY_RUN, STEP_RUN, STORY_TRIGGER, JOB, POD)
WITH_STORE = OperatorSettings(storage=StorageSettings(StorageProvider.FILE, file_path="/volume"))
STATES: Object = {"a": {"phase": "Succeeded"}, "fan/0": {"phase": "Failed"}, "call": {"subStoryRunName": "one-call"}}
OWN = (
    "inputs/team/one-a/input.json",
    "outputs/team/one-fan-0/output.sha256-0.json",
    "outputs/team/one/output.json",
    "team/logs/one/a/one-a/1.log",
)


class OneStore:
    """``store`` for every namespace."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    async def use(self, namespace: str, action: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        assert namespace == "team"
        try:
            return await action(cast("Store", self.store))
        except PayloadError as error:
            raise RejectedError(str(error)) from error
        except StoreUnavailableError as error:
            raise StorageUnavailableError(str(error)) from error


def going(
    name: str = "one", *, at: datetime = NOW, states: Object = STATES, meta: Object | None = None, **fields: Any
) -> Object:
    """A run that is being deleted since ``at``, and has no children any more."""
    deleted_at = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"deletionTimestamp": deleted_at, "finalizers": [FINALIZER_STORY_RUN], **(meta or {})}
    status = {"phase": "Succeeded", "stepStates": states, **fields.pop("status", {})}
    return run(name, meta=metadata, status=status, **fields)


def to(key: str) -> Object:
    return {"$bubuStorageRef": key}


async def reconcile(
    server: MemoryServer,
    store: MemoryStore,
    *,
    name: str = "one",
    now: datetime = NOW,
    settings: OperatorSettings = WITH_STORE,
    events: RecordedEvents | None = None,
    fence: Callable[[OwnedKey | None], None] = lambda _: None,
) -> Outcome:
    """One look by a process that has just started."""
    async with open_process(server) as (client, world):
        reconciler = StoredDataReconciler(
            client.fenced(fence), world, OneStore(store), events or RecordedEvents(), clock(now), lambda: settings
        )
        return await reconciler.reconcile(Key("team", name))


def is_released(server: MemoryServer, name: str = "one") -> bool:
    [found] = [obj for obj in server.all(STORY_RUN) if obj["metadata"]["name"] == name]
    return not found["metadata"].get("finalizers")


# What goes.


async def test_the_objects_of_a_deleted_run_and_its_steps_go_and_then_the_run() -> None:
    server, store = MemoryServer(KINDS, going()), MemoryStore([*OWN, "outputs/team/one-b/x.json"])

    assert await reconcile(server, store) == Done()

    assert [*store.objects] == ["outputs/team/one-b/x.json"]  # it has no such step
    assert is_released(server)


async def test_a_run_that_is_not_deleted_keeps_its_objects() -> None:
    server, store = MemoryServer(KINDS, run("one", meta={"finalizers": [FINALIZER_STORY_RUN]})), MemoryStore(OWN)

    assert await reconcile(server, store) == Done()

    assert [*store.objects] == [*OWN]
    assert not is_released(server)


async def test_a_run_without_stored_data_is_released_after_three_listings() -> None:
    server, store = MemoryServer(KINDS, going()), MemoryStore()

    assert await reconcile(server, store) == Done()

    assert len(store.pages) == 3
    assert is_released(server)


def test_the_steps_of_a_run_are_known_when_their_step_runs_are_gone() -> None:
    assert step_runs_of(going()) == {"one-a", "one-fan-0"}


@pytest.mark.parametrize("child", [step_run(going()), run("one-call", owner=going())], ids=["StepRun", "StoryRun"])
async def test_children_go_first(child: Object) -> None:
    server, store = MemoryServer(KINDS, going(), child), MemoryStore(OWN)

    assert await reconcile(server, store) == Done()

    assert [*store.objects] == [*OWN]
    assert not is_released(server)


@pytest.mark.parametrize(
    ("worker", "waits"),
    [
        (pod(stored("Job", "one-a"), status={"phase": "Running"}), True),
        (pod(stored("Job", "one-a"), status={"phase": "Succeeded"}), False),
        (job(stored("StepRun", "one-a"), status={}), True),
        (job(stored("StepRun", "one-a"), status={"conditions": [{"type": "Failed", "status": "True"}]}), False),
    ],
)
async def test_containers_end_first_because_they_may_still_store_something(worker: Object, waits: bool) -> None:
    server, store = MemoryServer(KINDS, going(), worker), MemoryStore(OWN)

    outcome = await reconcile(server, store)

    assert isinstance(outcome, After) is waits
    assert bool(store.objects) is waits
    assert is_released(server) is not waits


# What stays.


@pytest.mark.parametrize("by", ["operator", "story", "run"])
async def test_data_stays_if_operator_story_or_run_keep_it(by: str) -> None:
    kept = {"annotations": {ANNOTATION_KEEP_STORED_DATA: " True "}}
    report = stored("Story", "report", spec={"steps": []}, meta=kept if by == "story" else {})
    server = MemoryServer(KINDS, report, going(meta=kept if by == "run" else {}))
    store = MemoryStore(OWN)
    storage = StorageSettings(StorageProvider.FILE, file_path="/volume", delete_with_run=by != "operator")

    assert await reconcile(server, store, settings=OperatorSettings(storage=storage)) == Done()

    assert [*store.objects] == [*OWN]
    assert store.pages == []
    assert is_released(server)


async def test_without_a_store_the_run_is_released_at_once() -> None:
    server, store = MemoryServer(KINDS, going()), MemoryStore(OWN)

    assert await reconcile(server, store, settings=OperatorSettings()) == Done()

    assert store.pages == []
    assert is_released(server)


def referring(kind: str, key: str) -> Object:
    match kind:
        case "input of a run":
            return stored("StoryRun", "two", spec={"storyRef": {"name": "report"}, "inputs": {"rows": [to(key)]}})
        case "output of a run":
            return run("two", status={"output": {"text": orjson.dumps(to(key)).decode()}})
        case "a step":
            return step_run(run("two"), status={"output": {"model": {"$bubuArtifact": key}}})
        case _:
            trigger_spec = {"storyRef": {"name": "report"}, "deliveryIdentity": {}, "inputs": to(key)}
            status = {"decision": "Created", "observedGeneration": 1} if kind == "an answered trigger" else {}
            return stored("StoryTrigger", "t", spec=trigger_spec, status=status)


@pytest.mark.parametrize(
    ("kind", "stays"),
    [
        ("input of a run", True),
        ("output of a run", True),
        ("a step", True),
        ("a trigger", True),
        ("an answered trigger", False),
    ],
)
async def test_what_others_refer_to_stays(kind: str, stays: bool) -> None:
    key = OWN[1]
    server, store = MemoryServer(KINDS, going(), referring(kind, key)), MemoryStore(OWN)

    assert await reconcile(server, store) == Done()

    assert [*store.objects] == ([key] if stays else [])
    assert is_released(server)


@pytest.mark.parametrize("name", ["output.json", "output.refs.sha256-0.json"])
async def test_what_stored_objects_of_others_refer_to_stays(name: str) -> None:
    outer, inner = f"outputs/team/two/{name}", OWN[1]
    plain = "outputs/team/two/big.sha256-" + "0" * 64 + ".json"
    other = run("two", status={"output": {"outer": to(outer), "plain": to(plain)}})
    contents = {outer: orjson.dumps({"data": to(inner)}), plain: b"1", **dict.fromkeys(OWN, b"{}")}
    server, store = MemoryServer(KINDS, going(), other), MemoryStore(contents)

    assert await reconcile(server, store) == Done()

    assert [*store.objects] == [outer, plain, inner]
    assert plain not in store.read_keys


async def test_objects_of_another_run_with_the_name_of_a_step_stay() -> None:
    """Step ``a`` of the run ``one`` and the run ``one-a`` have one name."""
    server, store = MemoryServer(KINDS, going(), run("one-a")), MemoryStore(OWN)

    assert await reconcile(server, store) == Done()

    assert [*store.objects] == [OWN[0]]


async def test_nothing_goes_while_an_object_that_may_refer_to_it_is_too_large_to_read() -> None:
    outer = "outputs/team/two/output.json"
    other = run("two", status={"output": to(outer)})
    contents = {outer: b"x" * (17 << 20), **dict.fromkeys(OWN, b"{}")}
    server, store, events = MemoryServer(KINDS, going(), other), MemoryStore(contents), RecordedEvents()

    assert isinstance(await reconcile(server, store, events=events), RetryLater)

    assert len(store.objects) == 5
    assert events.emitted == [("one", "Warning", "StorageUnavailable")]


# What it was the last to refer to.

INHERITED = "inputs/team/0123456789abcdef/input.json"
"""The inputs of a StoryTrigger: the third segment is a digest."""


def inheriting() -> Object:
    return going(status={"output": to(INHERITED)})


async def test_inputs_of_its_trigger_go_with_the_last_run() -> None:
    server = MemoryServer(KINDS, inheriting(), run("two", status={"output": to(INHERITED)}))
    store = MemoryStore([INHERITED, "inputs/team/0123456789abcdef/other.json"])

    assert await reconcile(server, store) == Done()
    assert INHERITED in store.objects

    server.remove(server.all(STORY_RUN)[0])
    last = going("two", states={}, status={"output": to(INHERITED)})
    server.put(last)
    assert await reconcile(server, store, name="two") == Done()
    assert [*store.objects] == ["inputs/team/0123456789abcdef/other.json"]


async def test_a_young_object_without_an_owner_stays() -> None:
    """A client that has just stored it has not created its StoryTrigger yet."""
    server, store = MemoryServer(KINDS, inheriting()), MemoryStore([INHERITED])
    store.written_at[INHERITED] = NOW - YOUNG + timedelta(seconds=1)

    assert await reconcile(server, store) == Done()

    assert [*store.objects] == [INHERITED]


# Faults.


async def test_while_the_store_does_not_answer_the_run_waits_and_says_so() -> None:
    server, store, events = MemoryServer(KINDS, going()), MemoryStore(OWN), RecordedEvents()
    store.outage = "no answer"

    assert isinstance(await reconcile(server, store, events=events), RetryLater)

    assert not is_released(server)
    assert events.emitted == [("one", "Warning", "StorageUnavailable")]


async def test_a_run_does_not_wait_for_ever_for_its_store() -> None:
    server, store, events = MemoryServer(KINDS, going(at=NOW - GIVE_UP_AFTER)), MemoryStore(OWN), RecordedEvents()
    store.outage = "no answer"

    assert await reconcile(server, store, events=events) == Done()

    assert is_released(server)
    assert events.emitted == [("one", "Warning", "StoredDataLeft")]


async def test_a_late_process_still_deletes_what_it_can() -> None:
    server, store = MemoryServer(KINDS, going(at=NOW - 2 * GIVE_UP_AFTER)), MemoryStore(OWN)

    assert await reconcile(server, store) == Done()

    assert store.objects == {}


async def test_a_process_that_died_in_between_is_continued() -> None:
    server, store = MemoryServer(KINDS, going()), MemoryStore(OWN)

    async def down(request: tuple[str, str]) -> httpx.Response | None:
        code, body = refused("InternalError", "down")
        return httpx.Response(code, content=orjson.dumps(body)) if request[0] == "PATCH" else None

    server.before = down
    with pytest.raises(Exception, match="down"):
        await reconcile(server, store)
    assert not is_released(server)

    server.before = None
    assert await reconcile(server, store) == Done()
    assert store.objects == {}
    assert is_released(server)


async def test_a_process_that_has_lost_the_key_deletes_nothing() -> None:
    """The run may be gone, and a new one of its name may have stored equal objects."""
    server, store = MemoryServer(KINDS, going()), MemoryStore(OWN)

    def lost(_: OwnedKey | None) -> None:
        raise KubeError("the lease is lost")

    with pytest.raises(Exception, match="the lease is lost"):
        await reconcile(server, store, fence=lost)

    assert [*store.objects] == [*OWN]


async def test_many_objects_are_deleted_in_parts() -> None:
    keys = [f"outputs/team/one/part-{number}.json" for number in range(250)]
    server, store = MemoryServer(KINDS, going()), MemoryStore(keys, page_objects=1000)

    assert await reconcile(server, store) == Done()

    assert [len(part) for part in store.deletions] == [100, 100, 50]


@pytest.mark.parametrize("late", [False, True])
async def test_a_store_that_hangs_is_given_up_like_one_that_is_down(autojump_clock: MockClock, late: bool) -> None:
    at = NOW - GIVE_UP_AFTER if late else NOW
    server, store, events = MemoryServer(KINDS, going(at=at)), MemoryStore(OWN), RecordedEvents()
    store.seconds = 1000.0

    with trio.fail_after(WITH_STORE.reconcile_timeout.total_seconds()):
        outcome = await reconcile(server, store, events=events)

    assert isinstance(outcome, Done if late else RetryLater)
    assert is_released(server) is late
    assert events.emitted == [("one", "Warning", "StoredDataLeft" if late else "StorageUnavailable")]


async def test_a_run_with_very_many_objects_lets_others_have_their_turn(autojump_clock: MockClock) -> None:
    keys = [f"outputs/team/one/part-{number:04}.json" for number in range(1000)]
    server, store = MemoryServer(KINDS, going()), MemoryStore(keys, page_objects=1000)
    store.seconds = 1.0

    outcomes = [await reconcile(server, store), await reconcile(server, store)]

    assert outcomes == [After(timedelta()), Done()]
    assert store.objects == {}
    assert is_released(server)
