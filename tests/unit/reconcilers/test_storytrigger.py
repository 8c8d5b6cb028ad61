"""StoryTriggers are answered once, and start at most one run, whatever happens to the process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from bubu_contract.instants import format_instant
from bubu_contract.submission import input_hash, trigger_name
from core.api.conditions import MAX_MESSAGE_LENGTH
from core.api.keys import ANNOTATION_TRIGGER_INPUT_HASH
from core.api.objects import Object
from core.api.resource import IMPULSE, REFERENCE_GRANT, STORY, STORY_RUN, STORY_TRIGGER
from core.engine.errors import DeniedError, PortError, StaleError, StorageUnavailableError, UnavailableError
from core.engine.ports import Clock
from core.kube.client import KubeClient
from core.policy.settings import (
    CrossNamespacePolicy,
    OperatorSettings,
    StorageProvider,
    StorageSettings,
    TriggerSettings,
)
from core.workloads.keyed_request import Decision
from core.workloads.trigger import request_of, requested_run
from reconcilers.adapters.world import World
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome, RetryLater
from reconcilers.storytrigger import StoryTriggerReconciler
from tests.unit.reconcilers.memory_payloads import MemoryPayloads
from tests.unit.reconcilers.memory_server import MemoryServer, Request, open_process, refused
from tests.unit.reconcilers.reconciler_samples import NOW, RecordedEvents, clock, stored, story

KINDS = (STORY, STORY_RUN, STORY_TRIGGER, IMPULSE, REFERENCE_GRANT)
SETTINGS = OperatorSettings()
STORED: Object = {"rows": {"$bubuStorageRef": "inputs/team/rows.json"}}
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
CREATE_RUN: Request = ("POST", "storyruns")
WRITE_STATUS: Request = ("PATCH", "storytriggers/status")


def trigger(key: str = "", inputs: Object | None = None, *, uid: str = "t-1", **spec: Any) -> Object:
    identity: Object = {"submissionId": key or "sub-1"}
    if key:
        identity |= {"key": key, "mode": "token", "inputHash": input_hash(inputs)}
    spec = {"storyRef": {"name": "report"}, "deliveryIdentity": identity, "inputs": inputs or {}, **spec}
    name = trigger_name(spec["storyRef"].get("namespace") or "team", "report", key or "sub-1")
    return stored("StoryTrigger", name, spec=spec, meta={"uid": uid})


def server_with(*objects: Object) -> MemoryServer:
    return MemoryServer(KINDS, *objects)


def the_trigger(server: MemoryServer) -> Object:
    [found] = server.all(STORY_TRIGGER)
    return found


def status(server: MemoryServer) -> Object:
    found: Object = the_trigger(server).get("status") or {}
    return found


def shown(server: MemoryServer) -> tuple[Any, Any]:
    return status(server).get("decision"), status(server).get("reason")


def reconciler_of(
    client: KubeClient,
    world: World,
    events: RecordedEvents,
    clock: Clock,
    settings: Callable[[], OperatorSettings],
    payloads: MemoryPayloads | None = None,
) -> StoryTriggerReconciler:
    return StoryTriggerReconciler(client, world, events, clock, settings, payloads or MemoryPayloads())


async def reconcile(
    server: MemoryServer,
    *,
    now: datetime = NOW,
    settings: OperatorSettings = SETTINGS,
    events: RecordedEvents | None = None,
    payloads: MemoryPayloads | None = None,
) -> Outcome:
    """One look by a process that has just started."""
    async with open_process(server) as (client, world):
        reconciler = reconciler_of(client, world, events or RecordedEvents(), clock(now), lambda: settings, payloads)
        return await reconciler.reconcile(Key.of(the_trigger(server)))


# Created, Reused, Rejected.


@pytest.mark.parametrize("key", ["", "order-42"])
async def test_the_run_is_created_and_the_answer_says_so(key: str) -> None:
    server, events = server_with(story(), trigger(key, {"city": "Bern"})), RecordedEvents()

    assert await reconcile(server, events=events) == Done()

    [run] = server.all(STORY_RUN)
    assert (run["metadata"]["name"], run["spec"]) == (
        request_of(the_trigger(server)).run_name,
        {"storyRef": {"name": "report"}, "inputs": {"city": "Bern"}},
    )
    place = {"name": run["metadata"]["name"], "namespace": "team", "uid": run["metadata"]["uid"]}
    expected = {"decision": "Created", "reason": "StoryRunCreated", "storyRunRef": place, "observedGeneration": 1}
    assert {name: status(server)[name] for name in expected} == expected
    assert status(server)["acceptedAt"] == status(server)["completedAt"] == format_instant(NOW)
    assert place["name"] in status(server)["message"]
    conditions = {each["type"]: each for each in status(server)["conditions"]}
    assert {name: each["status"] for name, each in conditions.items()} == {
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
    }
    assert {each["reason"] for each in conditions.values()} == {"StoryRunCreated"}
    assert server.writes == [CREATE_RUN, WRITE_STATUS]
    assert events.emitted == []


async def test_the_run_of_a_key_has_the_hash_of_its_inputs_as_submitted() -> None:
    """Of the references, which are what admission sees, too."""
    server = server_with(story(), trigger("order-42", STORED))
    await reconcile(server)
    [run] = server.all(STORY_RUN)
    assert run["spec"]["inputs"] == STORED
    assert run["metadata"]["annotations"][ANNOTATION_TRIGGER_INPUT_HASH] == input_hash(STORED)


async def test_a_request_for_a_story_that_is_always_on_is_rejected_with_the_remedy() -> None:
    server = server_with(story(pattern="realtime", streamingStrategy="PerStory"), trigger())
    await reconcile(server)
    assert shown(server) == ("Rejected", "ValidationFailed")
    assert "set streamingStrategy: PerStoryRun" in status(server)["message"]
    assert server.all(STORY_RUN) == []


async def test_an_answer_is_never_touched_again() -> None:
    server = server_with(story(), trigger())
    await reconcile(server)
    before = the_trigger(server)
    assert await reconcile(server, now=NOW + 30 * DAY) == Done()
    assert the_trigger(server) == before
    assert len(server.writes) == 2


async def test_the_run_of_an_equal_request_is_reused() -> None:
    earlier = trigger("order-42", {"a": 1}, uid="t-0")
    run = {**requested_run(request_of(earlier))}
    server = server_with(story(), run, trigger("order-42", {"a": 1.0}))
    assert await reconcile(server) == Done()
    assert shown(server) == ("Reused", "StoryRunReused")
    assert status(server)["storyRunRef"]["uid"] == server.all(STORY_RUN)[0]["metadata"]["uid"]


async def test_another_request_of_the_same_key_is_rejected_with_one_event() -> None:
    run = requested_run(request_of(trigger("order-42", {"a": 1}, uid="t-0")))
    server, events = server_with(story(), run, trigger("order-42", {"a": 2})), RecordedEvents()
    assert await reconcile(server, events=events) == Done()
    assert shown(server) == ("Rejected", "StoryRunConflict")
    assert "storyRunRef" not in status(server)
    assert {each["type"]: each["status"] for each in status(server)["conditions"]} == {
        "Ready": "False",
        "Progressing": "False",
        "Degraded": "True",
    }
    assert events.emitted == [(the_trigger(server)["metadata"]["name"], "Warning", "StoryRunConflict")]
    await reconcile(server, events=events)
    assert len(events.emitted) == 1


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (trigger(deliveryIdentity={"submissionId": "sub-1", "inputHash": "0" * 64}), "InputHashMismatch"),
        (trigger(deliveryIdentity={"submissionId": "another"}), "ValidationFailed"),
        (trigger(storyRef={"name": "report", "namespace": "shared"}), "ValidationFailed"),
        (trigger(inputs={"text": "x" * 2000}), "ValidationFailed"),
    ],
    ids=["hash", "name", "policy", "size"],
)
async def test_what_nothing_can_mend_is_rejected_without_a_story(obj: Object, reason: str) -> None:
    server = server_with(obj)
    assert await reconcile(server) == Done()
    assert shown(server) == ("Rejected", reason)
    assert server.writes == [WRITE_STATUS]


def with_schema() -> Object:
    return story(inputsSchema={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


async def test_inputs_that_break_the_schema_of_the_story_are_rejected() -> None:
    server = server_with(with_schema(), trigger(inputs={"city": 7}))
    await reconcile(server)
    assert shown(server) == ("Rejected", "ValidationFailed")
    assert "inputsSchema" in status(server)["message"]
    assert server.all(STORY_RUN) == []


@pytest.mark.parametrize("schema", [{"$ref": "http://x/y"}, {"type": "object", "properties": "?"}])
async def test_a_schema_that_cannot_be_used_is_left_to_the_run(schema: Object) -> None:
    server = server_with(story(inputsSchema=schema), trigger(inputs={"city": 7}))
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_a_schema_that_has_just_been_edited_counts() -> None:
    """The informer has the old Story."""
    server = server_with(with_schema(), trigger(inputs={"city": 7}))
    async with open_process(server) as (client, world):
        server.put(story())
        reconciler = reconciler_of(client, world, RecordedEvents(), clock(), lambda: SETTINGS)
        await reconciler.reconcile(Key.of(the_trigger(server)))
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_a_long_message_is_cut() -> None:
    server = server_with(story(), trigger())
    server.before = refusing(CREATE_RUN, *refused("Forbidden", "denied: " + "x" * 5000))
    await reconcile(server)
    assert shown(server) == ("Rejected", "ValidationFailed")
    assert len(status(server)["message"]) == MAX_MESSAGE_LENGTH
    assert {len(each["message"]) for each in status(server)["conditions"]} == {MAX_MESSAGE_LENGTH}


# What the API server answers.


def refusing(what: Request, code: int, body: Object) -> Callable[[Request], Awaitable[httpx.Response | None]]:
    async def before(request: Request) -> httpx.Response | None:
        return httpx.Response(code, content=orjson.dumps(body)) if request == what else None

    return before


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Forbidden", 'admission webhook "v.example" denied the request: not on a Friday'),
        ("Invalid", "spec.inputs: no"),
        ("BadRequest", "no"),
        ("RequestEntityTooLarge", "no"),
    ],
)
async def test_a_definite_refusal_of_the_run_is_an_answer(reason: str, message: str) -> None:
    server = server_with(story(), trigger())
    server.before = refusing(CREATE_RUN, *refused(reason, message, fields=["spec.inputs"]))
    assert await reconcile(server) == Done()
    assert shown(server) == ("Rejected", "ValidationFailed")
    assert message in status(server)["message"]


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("TooManyRequests", "later"),
        ("InternalError", "failed calling webhook"),
        ("ServiceUnavailable", "no"),
        ("Timeout", "no"),
        ("Unauthorized", "no"),
        ("Forbidden", "storyruns is forbidden: exceeded quota: count, requested: 1, used: 9, limited: 9"),
    ],
)
@pytest.mark.parametrize("what", [("GET", "storytriggers"), CREATE_RUN, WRITE_STATUS])
async def test_any_other_answer_decides_nothing(what: Request, reason: str, message: str) -> None:
    server = server_with(story(), trigger())
    server.before = refusing(what, *refused(reason, message))
    with pytest.raises(UnavailableError):
        await reconcile(server)
    assert status(server) == {}
    server.before = None
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")
    assert len(server.all(STORY_RUN)) == 1


async def test_a_missing_permission_is_shown_and_retried_without_a_limit() -> None:
    server = server_with(story(), trigger())
    lacking = 'storyruns is forbidden: User "operator" cannot create resource "storyruns"'
    server.before = refusing(CREATE_RUN, *refused("Forbidden", lacking))
    for now in (NOW, NOW + HOUR, NOW + 9 * DAY):
        with pytest.raises(DeniedError):
            await reconcile(server, now=now)
        server.before = refusing(CREATE_RUN, *refused("Forbidden", f"{lacking} at {now}"))
    assert shown(server) == ("Pending", "PermissionDenied")
    assert lacking in status(server)["message"]
    assert server.writes.count(WRITE_STATUS) == 1
    server.before = None
    await reconcile(server, now=NOW + 9 * DAY)
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_admission_that_does_not_know_the_story_yet_is_asked_again() -> None:
    server = server_with(story(), trigger())
    server.before = refusing(CREATE_RUN, *refused("Invalid", "no Story", fields=["spec.storyRef.name"]))
    assert isinstance(await reconcile(server), RetryLater)
    assert shown(server) == ("Pending", "ReferenceRefused")
    assert isinstance(await reconcile(server, now=NOW + HOUR), RetryLater)
    assert server.writes.count(WRITE_STATUS) == 1
    server.before = None
    await reconcile(server, now=NOW + HOUR)
    assert shown(server) == ("Created", "StoryRunCreated")


# Obstacles that a later change removes.


async def test_a_missing_story_is_waited_for_with_one_write() -> None:
    server, events = server_with(trigger()), RecordedEvents()
    assert await reconcile(server, events=events) == After(HOUR)
    assert shown(server) == ("Pending", "StoryNotFound")
    assert {each["type"]: each["status"] for each in status(server)["conditions"]} == {
        "Ready": "False",
        "Progressing": "True",
        "Degraded": "False",
    }
    assert "completedAt" not in status(server)
    for minutes in (1, 100, 1439):
        await reconcile(server, now=NOW + timedelta(minutes=minutes), events=events)
    assert server.writes == [WRITE_STATUS]

    server.put(story())
    assert await reconcile(server, now=NOW + HOUR) == Done()
    assert shown(server) == ("Created", "StoryRunCreated")
    assert status(server)["acceptedAt"] == format_instant(NOW)
    assert status(server)["completedAt"] == format_instant(NOW + HOUR)
    assert events.emitted == []


async def test_the_timer_ends_at_the_limit_and_then_the_request_is_rejected() -> None:
    server, events = server_with(trigger()), RecordedEvents()
    await reconcile(server)
    assert await reconcile(server, now=NOW + DAY - timedelta(minutes=5)) == After(
        timedelta(minutes=5) - (NOW - NOW.replace(microsecond=0))
    )
    assert await reconcile(server, now=NOW + DAY, events=events) == Done()
    assert shown(server) == ("Rejected", "StoryNotFound")
    assert [reason for _, _, reason in events.emitted] == ["StoryNotFound"]


@pytest.mark.parametrize(("now", "expected"), [("2", "Created"), ("1", "Rejected"), ("", "Rejected")])
async def test_at_the_limit_the_story_counts_as_the_api_server_has_it(now: str, expected: str) -> None:
    """The informer has the old Story: a rejection is for good, so it needs a reason that holds at that moment."""
    server = server_with(story(version="1"), trigger(storyRef={"name": "report", "version": "2"}))
    await reconcile(server)
    async with open_process(server) as (client, world):
        [old] = server.all(STORY)
        server.remove(old)
        if now:
            server.put(story(version=now))
        reconciler = reconciler_of(client, world, RecordedEvents(), clock(NOW + DAY), lambda: SETTINGS)
        assert await reconciler.reconcile(Key.of(the_trigger(server))) == Done()
    reasons = {"2": "StoryRunCreated", "1": "StoryVersionMismatch", "": "StoryNotFound"}
    assert shown(server) == (expected, reasons[now])


async def test_without_a_limit_it_waits_on() -> None:
    settings = OperatorSettings(triggers=TriggerSettings(pending_timeout=timedelta()))
    server = server_with(trigger())
    for days in (0, 400):
        assert await reconcile(server, now=NOW + days * DAY, settings=settings) == After(HOUR)
    assert shown(server) == ("Pending", "StoryNotFound")


async def test_another_obstacle_is_another_write() -> None:
    server = server_with(trigger(storyRef={"name": "report", "version": "2"}))
    await reconcile(server)
    server.put(story(version="1"))
    await reconcile(server)
    assert shown(server) == ("Pending", "StoryVersionMismatch")
    server.put(story(version="2"))
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")
    assert server.writes == [WRITE_STATUS, WRITE_STATUS, CREATE_RUN, WRITE_STATUS]


def grant(*kinds: str) -> Object:
    source = [{"group": "runs.bubustack.io", "kind": kind, "namespace": "team"} for kind in kinds]
    target = [{"group": "bubustack.io", "kind": "Story"}]
    return stored("ReferenceGrant", "g", namespace="shared", spec={"from": source, "to": target})


async def test_a_missing_grant_is_waited_for_until_the_whole_path_is_granted() -> None:
    settings = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.GRANT)
    foreign = {**story(), "metadata": {**story()["metadata"], "namespace": "shared"}}
    server = server_with(foreign, trigger(storyRef={"name": "report", "namespace": "shared"}))
    await reconcile(server, settings=settings)
    assert shown(server) == ("Pending", "ReferenceNotGranted")
    server.put(grant("StoryTrigger"))
    await reconcile(server, settings=settings)
    assert shown(server) == ("Pending", "ReferenceNotGranted")
    server.put(grant("StoryTrigger", "StoryRun"))
    await reconcile(server, settings=settings)
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_a_story_of_another_namespace_starts_in_that_of_the_request_if_the_policy_allows_it() -> None:
    settings = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.ALLOW)
    foreign = {**story(), "metadata": {**story()["metadata"], "namespace": "shared"}}
    server = server_with(foreign, trigger(storyRef={"name": "report", "namespace": "shared"}))
    await reconcile(server, settings=settings)
    assert shown(server) == ("Created", "StoryRunCreated")
    assert server.all(STORY_RUN)[0]["metadata"]["namespace"] == "team"


async def test_a_missing_impulse_is_waited_for() -> None:
    server = server_with(story(), trigger(impulseRef={"name": "hook"}))
    await reconcile(server)
    assert shown(server) == ("Pending", "ImpulseNotFound")
    server.put(stored("Impulse", "hook", spec={"storyRef": {"name": "report"}}))
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")
    assert server.all(STORY_RUN)[0]["spec"]["impulseRef"] == {"name": "hook"}


async def test_a_run_that_is_being_deleted_is_waited_for_and_then_replaced() -> None:
    leaving = requested_run(request_of(trigger("order-42", {"a": 1}, uid="t-0")))
    server = server_with(story(), trigger("order-42", {"a": 2}))
    run = server.put({**leaving, "metadata": {**leaving["metadata"], "deletionTimestamp": "2025-01-02T03:04:05Z"}})
    await reconcile(server)
    assert shown(server) == ("Pending", "StoryRunTerminating")
    server.remove(run)
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")


# Processes that die, and processes that are late.


class DiedError(Exception):
    """The process ends here."""


def dying(at: int, *, served: bool) -> Callable[[MemoryServer], None]:
    """Ends the process at its request number ``at``: before the server sees it, or after."""

    def arm(server: MemoryServer) -> None:
        first = len(server.requests)

        def count() -> bool:
            return len(server.requests) - first == at + 1

        async def before(_: Request) -> httpx.Response | None:
            if count() and not served:
                raise DiedError
            return None

        def after(_: Request) -> None:
            if count() and served:
                raise DiedError

        server.before, server.after = before, after

    return arm


def situations() -> dict[str, Callable[[], MemoryServer]]:
    """Servers with one StoryTrigger, by what is special there."""
    keyed = trigger("order-42", {"a": 1})
    same = requested_run(request_of(trigger("order-42", {"a": 1}, uid="t-0")))
    other = requested_run(request_of(trigger("order-42", {"a": 2}, uid="t-0")))
    return {
        "with a key": lambda: server_with(story(), keyed),
        "without a key": lambda: server_with(story(), trigger(inputs={"a": 1})),
        "with a key, stored inputs": lambda: server_with(story(), trigger("order-42", STORED)),
        "without a key, stored inputs": lambda: server_with(story(), trigger(inputs=STORED)),
        "reused": lambda: server_with(story(), keyed, same),
        "conflict": lambda: server_with(story(), keyed, other),
        "schema": lambda: server_with(with_schema(), trigger(inputs={"city": 7})),
        "no story": lambda: server_with(trigger()),
    }


@pytest.mark.parametrize("situation", situations())
@pytest.mark.parametrize("served", [False, True], ids=["not sent", "no answer"])
async def test_whenever_the_process_dies_the_next_one_gives_the_same_answer(situation: str, served: bool) -> None:
    undisturbed = situations()[situation]()
    await reconcile(undisturbed)
    assert 1 < len(undisturbed.requests) < 8
    for at in range(len(undisturbed.requests)):
        server = situations()[situation]()
        dying(at, served=served)(server)
        with pytest.raises(DiedError):
            await reconcile(server)
        server.before = server.after = None
        await reconcile(server)
        assert shown(server) == shown(undisturbed)
        assert sorted(run["metadata"]["name"] for run in server.all(STORY_RUN)) == sorted(
            run["metadata"]["name"] for run in undisturbed.all(STORY_RUN)
        )


@pytest.mark.parametrize("key", ["", "order-42"])
async def test_a_run_that_was_started_counts_although_the_world_has_changed_since(key: str) -> None:
    """The process died before it stored the answer; then the Story, and the setting for inputs, changed."""
    server = server_with(story(), trigger(key, {"a": 1}))
    server.before = refusing(WRITE_STATUS, *refused("InternalError", "no"))
    with pytest.raises(UnavailableError):
        await reconcile(server)
    server.before = None
    server.remove(server.all(STORY)[0])
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")
    assert len(server.all(STORY_RUN)) == 1


async def test_a_refusal_of_the_second_attempt_does_not_hide_the_run_of_the_first() -> None:
    """Admission comes before the check of the name."""
    server = server_with(story(), trigger())
    server.before = refusing(WRITE_STATUS, *refused("InternalError", "no"))
    with pytest.raises(UnavailableError):
        await reconcile(server)
    server.before = refusing(CREATE_RUN, *refused("Forbidden", "denied"))
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_a_late_process_cannot_change_an_answer() -> None:
    """It has found the Story missing, and is suspended before it writes; another process answers meanwhile."""
    server = server_with(trigger())

    async def meanwhile(request: Request) -> httpx.Response | None:
        if request == WRITE_STATUS:
            server.before = None
            server.put(story())
            await reconcile(server)
        return None

    server.before = meanwhile
    with pytest.raises(StaleError):
        await reconcile(server, now=NOW + 2 * DAY)
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_a_process_that_has_not_heard_of_the_answer_starts_nothing() -> None:
    """The run has been removed since."""
    server = server_with(story(), trigger())
    async with open_process(server) as (client, world):
        await reconcile(server)
        [run] = server.all(STORY_RUN)
        server.remove(run)
        reconciler = reconciler_of(client, world, RecordedEvents(), clock(), lambda: SETTINGS)
        assert await reconciler.reconcile(Key.of(the_trigger(server))) == Done()
        assert server.all(STORY_RUN) == []
        known = world.informer(STORY_TRIGGER).get("team", the_trigger(server)["metadata"]["name"])
        assert known is not None
        assert known["status"]["decision"] == Decision.CREATED


async def test_two_processes_at_once_give_one_answer() -> None:
    """Both have seen the StoryTrigger without an answer; one creates the run between the two requests of the other."""
    server = server_with(story(), trigger("order-42"))

    async def meanwhile(request: Request) -> httpx.Response | None:
        if request == CREATE_RUN:
            server.before = None
            await reconcile(server)
        return None

    server.before = meanwhile
    with pytest.raises(PortError):
        await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")
    assert len(server.all(STORY_RUN)) == 1


async def test_an_answer_about_an_earlier_spec_is_given_again() -> None:
    server = server_with(story(), trigger())
    await reconcile(server)
    first = the_trigger(server)
    server.change(first, meta={"generation": 2})
    await reconcile(server)
    assert shown(server) == ("Created", "StoryRunCreated")
    assert status(server)["observedGeneration"] == 2
    assert status(server)["acceptedAt"] == first["status"]["acceptedAt"]
    assert len(server.all(STORY_RUN)) == 1


async def test_a_trigger_that_is_being_deleted_or_gone_is_left_alone() -> None:
    server = server_with(story(), trigger())
    async with open_process(server) as (client, world):
        reconciler = reconciler_of(client, world, RecordedEvents(), clock(), lambda: SETTINGS)
        key = Key.of(the_trigger(server))
        server.change(the_trigger(server), meta={"deletionTimestamp": "2025-01-02T03:04:05Z"})
        assert await reconciler.reconcile(key) == Done()
        assert await reconciler.reconcile(key) == Done()
        assert await reconciler.reconcile(Key("team", "nobody")) == Done()
    assert server.requests == [("GET", "storytriggers")]


# Retention.


async def test_an_answered_trigger_stays_as_long_as_its_run() -> None:
    server = server_with(story(), trigger())
    await reconcile(server)
    [run] = server.all(STORY_RUN)
    assert await reconcile(server, now=NOW + 30 * DAY) == Done()
    server.remove(run)
    assert await reconcile(server, now=NOW + 30 * DAY) == Done()
    assert server.all(STORY_TRIGGER) == []
    assert server.writes[-1] == ("DELETE", "storytriggers")


async def test_it_is_deleted_at_a_known_instant_if_its_run_is_gone_earlier() -> None:
    server = server_with(story(), trigger())
    await reconcile(server)
    server.remove(server.all(STORY_RUN)[0])
    assert await reconcile(server) == After(HOUR)
    since = NOW.replace(microsecond=0)
    assert await reconcile(server, now=since + DAY - timedelta(seconds=9)) == After(timedelta(seconds=9))
    assert len(server.all(STORY_TRIGGER)) == 1
    await reconcile(server, now=since + DAY)
    assert server.all(STORY_TRIGGER) == []


async def test_a_changed_trigger_is_not_deleted_by_mistake() -> None:
    server = server_with(trigger(inputs={"text": "x" * 2000}))
    await reconcile(server)
    answered = the_trigger(server)

    async def meanwhile(request: Request) -> httpx.Response | None:
        if request[0] == "DELETE":
            server.put({**answered, "metadata": {**answered["metadata"], "uid": "t-2", "resourceVersion": "77"}})
        return None

    server.before = meanwhile
    with pytest.raises(StaleError):
        await reconcile(server, now=NOW + 2 * DAY)
    assert the_trigger(server)["metadata"]["uid"] == "t-2"


async def test_a_deletion_whose_answer_was_lost_is_done() -> None:
    server = server_with(trigger(inputs={"text": "x" * 2000}))
    await reconcile(server)

    async def gone(request: Request) -> httpx.Response | None:
        if request[0] == "DELETE" and server.objects:
            server.objects.clear()
        return None

    server.before = gone
    assert await reconcile(server, now=NOW + 2 * DAY) == Done()


WITH_STORE = OperatorSettings(storage=StorageSettings(StorageProvider.S3, s3_bucket="data"))
LARGE: Object = {"text": "x" * 5000, "n": 1}


async def test_large_inputs_go_to_the_store_and_the_run_gets_references() -> None:
    payloads, server = MemoryPayloads(), server_with(story(), trigger("k", LARGE))

    await reconcile(server, settings=WITH_STORE, payloads=payloads)

    [run] = server.all(STORY_RUN)
    [key] = payloads.objects
    assert run["spec"]["inputs"] == {
        "text": {"$bubuStorageRef": key, "$bubuStorageContentType": "text/plain"},
        "n": 1,
    }
    assert key.startswith(f"inputs/team/{run['metadata']['name']}/text.sha256-")
    assert run["metadata"]["annotations"][ANNOTATION_TRIGGER_INPUT_HASH] == input_hash(LARGE)
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_an_equal_request_with_large_inputs_reuses_the_run() -> None:
    payloads, server = MemoryPayloads(), server_with(story(), trigger("k", LARGE))
    await reconcile(server, settings=WITH_STORE, payloads=payloads)
    server.remove(the_trigger(server))
    server.put(trigger("k", LARGE, uid="t-2"))

    await reconcile(server, settings=WITH_STORE, payloads=payloads)

    assert shown(server) == ("Reused", "StoryRunReused")
    assert len(server.all(STORY_RUN)) == 1


async def test_a_store_that_does_not_answer_keeps_the_request_waiting() -> None:
    payloads, server = (
        MemoryPayloads(outage="bucket 'data' cannot be written"),
        server_with(story(), trigger("", LARGE)),
    )

    with pytest.raises(StorageUnavailableError):
        await reconcile(server, settings=WITH_STORE, payloads=payloads)

    assert shown(server) == ("Pending", "StorageUnavailable")
    assert "bucket 'data' cannot be written" in status(server)["message"]
    assert server.all(STORY_RUN) == []
    payloads.outage = ""
    await reconcile(server, settings=WITH_STORE, payloads=payloads)
    assert shown(server) == ("Created", "StoryRunCreated")


async def test_without_a_store_large_inputs_are_rejected_and_the_setting_is_named() -> None:
    server = server_with(story(), trigger("", LARGE))

    await reconcile(server)

    assert shown(server) == ("Rejected", "ValidationFailed")
    assert "controller.storage.provider" in status(server)["message"]
