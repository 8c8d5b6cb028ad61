"""Whole engrams in memory: outcomes, contexts, cancellation, conformance. (testing/environment.py, batch.py)"""

from __future__ import annotations

import asyncio  # noqa: TID251 - users' functions may be asyncio
import base64
import json
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import trio

from bubu_sdk import AsyncContext, Context, EngramError, engram, text_signal
from bubu_sdk.kube import StatusError, UnreachableError
from bubu_sdk.testing import ConformanceError, EngramEnvironment, check_batch
from bubu_sdk.testing.cluster import refusing


@dataclass
class Inputs:
    city: str
    days: int = 3


@dataclass
class Config:
    unit: str = "C"


@dataclass
class Output:
    summary: str
    took: timedelta


@engram
def forecast(ctx: Context[Config], inputs: Inputs) -> Output:
    return Output(f"{inputs.city}: {inputs.days} days in {ctx.config.unit}", timedelta(seconds=1.5))


def test_a_function_becomes_a_step(environment: EngramEnvironment) -> None:
    outcome = EngramEnvironment(config={"unit": "F"}).run(forecast, {"city": "Oslo", "days": "5"})

    assert outcome.exit_code == 0
    assert outcome.phase == "Succeeded"
    assert outcome.output == {"summary": "Oslo: 5 days in F", "took": "1.5s"}


def test_a_decorated_function_is_still_a_function() -> None:
    assert engram(lambda inputs: inputs["a"])({"a": 1}) == 1


def test_a_success_costs_one_claim_and_one_terminal_patch() -> None:
    environment = EngramEnvironment(inline_bytes=None)
    environment.status = {
        "phase": "Running",
        "retries": 0,
        "podName": "story-run-step-pod",
        "startedAt": "2025-01-01T00:00:00Z",
    }

    outcome = environment.run(lambda: None)

    assert [sorted(patch["status"]) for patch in outcome.patches] == [
        ["duration", "exitClass", "exitCode", "finishedAt", "output", "phase"]
    ]
    assert outcome.output == {}


@pytest.mark.parametrize(
    "status",
    [{"phase": "Pending", "retries": 0}, {}, {"phase": "Scheduling", "retries": 0}],
)
def test_a_fast_step_succeeds_although_the_controller_has_not_written_running(status: dict[str, Any]) -> None:
    environment = EngramEnvironment()
    environment.status = status

    outcome = environment.run(lambda: {"ok": True})

    assert (outcome.exit_code, outcome.phase) == (0, "Succeeded")
    assert outcome.patches[0]["status"]["phase"] == "Running"


def test_an_exception_becomes_a_terminal_failure() -> None:
    def main() -> None:
        raise ValueError("no such city; token=abc")

    outcome = EngramEnvironment().run(main)

    assert outcome.exit_code == 1
    assert outcome.status["exitClass"] == "terminal"
    assert outcome.error == {
        "version": "v1",
        "type": "execution_error",
        "message": "ValueError: no such city; token=[REDACTED]",
        "retryable": False,
        "exitCode": 1,
        "exitClass": "terminal",
        "exceptions": ["ValueError", "Exception"],
    }
    assert any("ValueError" in line.get("stacktrace", "") for line in outcome.logs)


def test_an_engram_error_says_its_own_class_and_may_carry_output() -> None:
    def main() -> None:
        raise EngramError("slow down", exit_class="rateLimited", code="QUOTA", output={"done": 3})

    outcome = EngramEnvironment().run(main)

    assert outcome.exit_code == 1
    assert (outcome.status["exitClass"], outcome.output) == ("rateLimited", {"done": 3})
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["retryable"]) == ("QUOTA", True)


def test_a_single_error_in_a_group_is_told_as_itself() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_raise, EngramError("inner", code="C"))

    outcome = EngramEnvironment().run(engram(backend="trio")(main))

    assert outcome.error is not None
    assert outcome.error["code"] == "C"


@pytest.mark.parametrize(
    ("argument", "exit_code", "exit_class"),
    [(None, 0, "success"), (0, 0, "success"), (3, 3, "terminal"), (137, 137, "retry"), ("message", 1, "terminal")],
)
def test_sys_exit_means_what_the_operator_reads_from_exit_codes(argument: Any, exit_code: int, exit_class: str) -> None:
    outcome = EngramEnvironment().run(lambda: sys.exit(argument))

    assert (outcome.exit_code, outcome.status["exitClass"]) == (exit_code, exit_class)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1], "returned list; return a dict"),
        ({"a": {1: 2}}, "output.a: the key 1 is int"),
        ({"a": b"x"}, "output.a: bytes cannot be written as JSON; encode it"),
        ({"a": [float("inf")]}, r"output.a[0]: inf cannot be written as JSON"),
    ],
)
def test_an_output_without_a_json_form_is_a_serialization_error(returned: Any, message: str) -> None:
    outcome = EngramEnvironment().run(lambda: returned)

    assert outcome.error is not None
    assert outcome.error["type"] == "serialization_error"
    assert message in outcome.error["message"]


def test_bad_inputs_are_a_validation_error_and_the_function_is_not_called() -> None:
    outcome = EngramEnvironment().run(forecast, {"days": "many"})

    assert outcome.error is not None
    assert outcome.error["type"] == "validation_error"
    assert outcome.error["message"] == "inputs.city: is required; inputs.days: expected an integer, got 'many'"


def test_bad_configuration_is_a_failure_of_initialization() -> None:
    @dataclass
    class Strict:
        n: int

    def main(ctx: Context) -> None:
        del ctx

    main.__annotations__["ctx"] = Context[Strict]
    outcome = EngramEnvironment(config={"n": "x"}).run(main)

    assert outcome.error is not None
    assert "config.n: expected an integer" in outcome.error["message"]


def test_an_untyped_configuration_fails_only_who_asks_for_it() -> None:
    environment = EngramEnvironment(config={"a": "{{ steps.s.output | toJson }}", "n": 1})

    ignoring = environment.run(lambda ctx: {"step": ctx.step})
    environment.status = {"phase": "Running", "retries": 0}
    asking = environment.run(lambda ctx: ctx.config)

    assert ignoring.exit_code == 0
    assert asking.error is not None
    assert asking.error["message"].startswith("config.a: unresolved template")


def test_an_untyped_configuration_is_plain_json() -> None:
    assert EngramEnvironment(config={"n": [1, None]}).run(lambda ctx: ctx.config).output == {"n": [1, None]}


def test_an_unresolved_template_is_named() -> None:
    outcome = EngramEnvironment().run(lambda inputs: inputs, {"a": {"b": "x {{ steps.s.output }}"}})

    assert outcome.error is not None
    assert outcome.error["type"] == "validation_error"
    assert outcome.error["message"].startswith("inputs.a.b: unresolved template")


def test_templates_may_be_switched_off_for_inputs() -> None:
    environment = EngramEnvironment(environ={"BUBU_SKIP_INPUT_TEMPLATING": "yes"})

    assert environment.run(lambda inputs: inputs, {"a": "{{ x }}"}).output == {"a": "{{ x }}"}


def test_schemas_are_not_looked_for_when_the_operator_checks_them() -> None:
    wanting = {"type": "object", "required": ["b"]}
    checked = EngramEnvironment(input_schema=wanting)
    trusting = EngramEnvironment(input_schema=wanting, environ={"BUBU_SKIP_SCHEMA_VALIDATION": "true"})

    assert checked.run(lambda inputs: inputs, {"a": 1}).error is not None
    assert trusting.run(lambda inputs: inputs, {"a": 1}).output == {"a": 1}


def test_a_path_into_an_offloaded_output_is_fetched() -> None:
    environment = EngramEnvironment(
        environ={
            "BUBU_TEMPLATE_CONTEXT": '{"steps":{"s":{"output":{"$bubuStorageRef":"outputs/default/s/output.json"}}}}'
        }
    )
    environment.store.objects["outputs/default/s/output.json"] = (
        b'{"contentType":"json","data":{"body":"{{ not a template }}"}}'
    )

    outcome = environment.run(lambda inputs: inputs, {"text": "{{ steps.s.output.body }}"})

    assert outcome.output == {"text": "{{ not a template }}"}


def test_references_to_secrets_are_read_with_the_pods_rights() -> None:
    environment = EngramEnvironment()
    environment.cluster.add(
        "/api/v1/namespaces/default/secrets/db", {"data": {"password": base64.b64encode(b"hunter2").decode()}}
    )

    outcome = environment.run(lambda inputs: {"length": len(inputs["p"])}, {"p": {"$bubuSecretRef": "db:password"}})

    assert outcome.output == {"length": 7}


def test_a_missing_key_of_a_secret_names_the_input() -> None:
    environment = EngramEnvironment()
    environment.cluster.add("/api/v1/namespaces/default/secrets/db", {"data": {}})

    outcome = environment.run(lambda inputs: inputs, {"p": {"$bubuSecretRef": "db:password"}})

    assert outcome.error is not None
    assert outcome.error["message"] == "inputs.p: Secret 'db' has no key 'password'"


def test_secrets_are_in_the_context_by_their_keys() -> None:
    outcome = EngramEnvironment(secrets={"api": {"token": "t-1"}}).run(
        lambda ctx: {"same": ctx.secrets["token"] == "t-1"}
    )

    assert outcome.output == {"same": True}


def test_the_context_knows_who_and_when() -> None:
    environment = EngramEnvironment(step_timeout="1h")
    environment.status = {"phase": "Pending", "retries": 2}

    outcome = environment.run(
        lambda ctx: {
            "who": [ctx.story, ctx.story_run, ctx.step, ctx.step_run, ctx.namespace],
            "attempt": ctx.attempt,
            "key": ctx.idempotency_key,
            "minutes": round(ctx.remaining().total_seconds() / 60),
        }
    )

    assert outcome.output == {
        "who": ["story", "story-run", "step", "story-run-step", "default"],
        "attempt": 3,
        "key": "ns/default/storyrun/story-run/steprun/story-run-step",
        "minutes": 60,
    }


def test_signals_show_small_values_and_texts_for_people() -> None:
    def main(ctx: Context[Any]) -> None:
        ctx.emit_signal("progress", {"percent": 50})
        ctx.emit_signal("note", text_signal("half way"))
        ctx.emit_signal("gone", 1)
        ctx.emit_signal("gone", None)
        assert [event["seq"] for event in ctx.signal_events(after=2)] == [3, 4]

    outcome = EngramEnvironment().run(main)

    assert outcome.exit_code == 0
    assert sorted(outcome.signals) == ["note", "progress"]
    assert outcome.signals["progress"]["value"] == {"percent": 50}
    assert outcome.signals["note"]["sample"] == {"text": "half way"}
    assert [event["key"] for event in outcome.signal_events] == ["progress", "note", "gone", "gone"]


def test_signals_of_a_retried_attempt_are_kept() -> None:
    environment = EngramEnvironment()

    def main(ctx: Context[Any]) -> None:
        ctx.emit_signal("tick", ctx.attempt)
        if ctx.attempt == 1:
            raise EngramError("again", retryable=True)

    assert environment.run(main).exit_code == 1
    environment.status = environment.status | {"phase": "Pending", "retries": 1, "podName": ""}
    outcome = environment.run(main)

    assert outcome.exit_code == 0
    assert [event["seq"] for event in outcome.signal_events] == [1, 2]


def test_secrets_of_the_step_appear_neither_in_logs_nor_in_the_status() -> None:
    def main(ctx: Context[Any]) -> None:
        password = ctx.secrets["password"]
        ctx.logger.info("logging in with %s", password, extra={"url": f"db://me:{password}@host", "login": [password]})
        ctx.emit_signal("login", {"with": password})
        raise RuntimeError(f"{password} was refused")

    outcome = EngramEnvironment(secrets={"db": {"password": "hunter-2"}}).run(main)

    assert outcome.exit_code == 1
    assert "hunter-2" not in json.dumps([outcome.logs, outcome.status])
    assert outcome.logs[0]["msg"] == "logging in with [REDACTED]"
    assert outcome.logs[0]["url"] == "db://me:[REDACTED]@host"
    assert outcome.error is not None
    assert outcome.error["message"] == "RuntimeError: [REDACTED] was refused"
    another = EngramEnvironment().run(lambda ctx: ctx.logger.info("hunter-2"))
    assert another.logs[0]["msg"] == "hunter-2"


@pytest.mark.parametrize("backend", [None, "asyncio", "trio"])
def test_a_traceback_begins_in_the_code_of_the_user(backend: Any) -> None:
    async def slow(ctx: AsyncContext[Any]) -> None:
        raise ZeroDivisionError("slow")

    def plain(ctx: Context[Any]) -> None:
        raise ZeroDivisionError("plain")

    outcome = EngramEnvironment().run(engram(backend=backend)(slow) if backend else engram(plain))

    (trace,) = [line["stacktrace"] for line in outcome.logs if "stacktrace" in line]
    assert trace.startswith("Traceback (most recent call last):")
    assert trace.count('File "') == 1
    assert "bubu_sdk" not in trace
    assert f"in {'slow' if backend else 'plain'}" in trace


def test_log_lines_carry_the_step_and_hide_credentials() -> None:
    outcome = EngramEnvironment().run(lambda ctx: ctx.logger.info("password=%s", "x", extra={"rows": 3}))

    line = outcome.logs[0]
    assert (line["msg"], line["rows"], line["step"], line["level"]) == ("password=[REDACTED]", 3, "step", "info")


def test_log_lines_carry_the_attempt() -> None:
    environment = EngramEnvironment()
    environment.status = {"phase": "Pending", "retries": 2}

    outcome = environment.run(lambda ctx: ctx.logger.info("hello"))

    assert [(line["msg"], line["attempt"]) for line in outcome.logs] == [("hello", 3), ("step ended", 3)]


def test_logs_are_published_when_storage_is_there() -> None:
    environment = EngramEnvironment()

    outcome = environment.run(lambda ctx: ctx.logger.info("hello"))

    link = outcome.status["logs"]
    assert link["$bubuStorageRef"].startswith("default/logs/story-run/step/story-run-step/")
    assert link["$bubuStorageContentType"] == "application/x-ndjson"
    assert link["$bubuStorageSchema"] == "bubu://engram/default/engram/logs"
    assert b'"msg": "hello"' in environment.store.objects[link["$bubuStorageRef"]]


def test_a_large_output_leaves_a_reference_and_comes_back() -> None:
    outcome = EngramEnvironment().run(lambda: {"body": "x" * 5000, "nothing": None})

    assert outcome.status["output"]["body"]["$bubuStorageRef"].startswith("outputs/default/story-run-step/body.sha256-")
    assert outcome.output == {"body": "x" * 5000, "nothing": None}


def test_a_store_that_recovers_within_three_attempts_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    environment, failures = EngramEnvironment(), iter(range(2))
    write = environment.store.write

    def flaky(key: str, content: bytes, content_type: str) -> None:
        if key.startswith("outputs/") and next(failures, None) is not None:
            from bubu_sdk import StorageError

            raise StorageError("busy")
        write(key, content, content_type)

    monkeypatch.setattr(environment.store, "write", flaky)

    assert environment.run(lambda: {"body": "x" * 5000}).exit_code == 0


def test_a_store_that_stays_down_fails_the_step_and_nothing_is_inlined(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = EngramEnvironment()

    def down(*_: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(environment.store, "write", down)
    outcome = environment.run(lambda: {"body": "x" * 5000})

    assert outcome.exit_code == 1
    assert outcome.error is not None
    assert outcome.error["type"] == "storage_error"
    assert "output" not in outcome.status


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "required": True}}}


def test_inputs_and_output_are_checked_against_the_template() -> None:
    good = EngramEnvironment(input_schema=SCHEMA, output_schema=SCHEMA).run(lambda inputs: inputs, {"n": 1})
    bad_input = EngramEnvironment(input_schema=SCHEMA).run(lambda: None, {"n": "x"})
    bad_output = EngramEnvironment(output_schema=SCHEMA).run(lambda: {"m": 1})

    assert good.exit_code == 0
    assert bad_input.error is not None
    assert bad_input.error["type"] == "validation_error"
    assert bad_input.error["message"].startswith("inputs schema violated: inputs.n:")
    assert bad_output.error is not None
    assert bad_output.error["message"].startswith('output schema violated: output: "n" is a required property')


def test_an_output_is_checked_before_it_is_offloaded() -> None:
    schema = {"type": "object", "properties": {"body": {"type": "string"}}}

    assert EngramEnvironment(output_schema=schema).run(lambda: {"body": "x" * 5000}).exit_code == 0


def test_without_the_right_to_read_the_template_nothing_is_checked() -> None:
    environment = EngramEnvironment(input_schema=SCHEMA)

    def forbid(method: str, path: str, _: Any) -> None:
        if method == "GET" and "engram" in path.split("/")[-2]:
            raise StatusError(403, "forbidden")

    environment.cluster.before = forbid

    assert environment.run(lambda: None, {"n": "x"}).exit_code == 0


def test_a_deadline_ends_a_function_that_looks_at_cancelled() -> None:
    outcome = EngramEnvironment(step_timeout="500ms").run(lambda ctx: {"stopped": ctx.cancelled.wait(5)})

    assert (outcome.exit_code, outcome.phase, outcome.status["exitClass"]) == (124, "Timeout", "retry")
    assert outcome.output == {"stopped": True}
    assert not outcome.hung


def test_a_deadline_ends_a_function_that_never_looks() -> None:
    release = threading.Event()

    outcome = EngramEnvironment(step_timeout="500ms", grace="100ms").run(lambda: release.wait(10))
    release.set()

    assert (outcome.exit_code, outcome.phase, outcome.hung) == (124, "Timeout", True)
    assert outcome.error is not None
    assert outcome.error["type"] == "timeout"


def test_a_success_after_the_deadline_is_still_a_timeout() -> None:
    def late(ctx: Context[Any]) -> dict[str, bool]:
        ctx.cancelled.wait(5)
        return {"late": True}

    outcome = EngramEnvironment(step_timeout="500ms").run(late)

    assert (outcome.phase, outcome.output) == ("Timeout", {"late": True})


@engram(backend="trio")
async def sleeps_in_trio() -> None:
    await trio.sleep_forever()


@engram(backend="asyncio")
async def sleeps_in_asyncio() -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("sleeper", [sleeps_in_trio, sleeps_in_asyncio], ids=["trio", "asyncio"])
def test_a_deadline_cancels_a_coroutine(sleeper: Any) -> None:
    outcome = EngramEnvironment(step_timeout="300ms").run(sleeper)

    assert (outcome.exit_code, outcome.hung) == (124, False)


@pytest.mark.parametrize("sleeper", [sleeps_in_trio, sleeps_in_asyncio], ids=["trio", "asyncio"])
def test_termination_cancels_a_coroutine_and_asks_for_a_retry(sleeper: Any) -> None:
    environment = EngramEnvironment()
    timer = threading.Timer(0.2, environment.cancel)
    timer.start()
    outcome = environment.run(sleeper)
    timer.join()

    assert (outcome.exit_code, outcome.phase, outcome.status["exitClass"]) == (143, "Failed", "retry")
    assert outcome.status["exitCode"] == 143


def test_a_function_that_finishes_in_its_grace_has_succeeded() -> None:
    environment = EngramEnvironment()

    def main(ctx: Context[Any]) -> dict[str, bool]:
        environment.cancel()
        ctx.cancelled.wait(5)
        return {"finished": True}

    outcome = environment.run(main)

    assert (outcome.exit_code, outcome.output) == (0, {"finished": True})


@engram(backend="trio")
async def talks_in_trio(ctx: AsyncContext[Config], inputs: Inputs) -> dict[str, Any]:
    return await _talk(ctx, inputs)


@engram
async def talks_in_asyncio(ctx: AsyncContext[Config], inputs: Inputs) -> dict[str, Any]:
    return await _talk(ctx, inputs)


talks_in_asyncio.backend = "asyncio"  # this module imports trio, which the SDK would detect


async def _talk(ctx: AsyncContext[Config], inputs: Inputs) -> dict[str, Any]:
    async def charge(lease: Any) -> dict[str, str]:
        return {"key": lease.key}

    await ctx.emit_signal("city", inputs.city)
    await ctx.record_effect("seen", details={"n": 1})
    first = await ctx.execute_once("charge", charge)
    second = await ctx.execute_once("charge", charge)
    events = await ctx.signal_events()
    return {
        "executed": [first.executed, second.executed],
        "details": second.details,
        "has": await ctx.has_effect("seen"),
        "events": len(events),
    }


@pytest.mark.parametrize("talker", [talks_in_trio, talks_in_asyncio], ids=["trio", "asyncio"])
def test_a_coroutine_awaits_the_verbs_of_its_context(talker: Any) -> None:
    outcome = EngramEnvironment().run(talker, {"city": "Oslo"})

    assert outcome.error is None
    assert outcome.output == {"executed": [True, False], "details": {"key": "charge"}, "has": True, "events": 1}


@engram(backend="trio")
async def charges_forever_in_trio(ctx: AsyncContext[Any]) -> None:
    await ctx.execute_once("charge", lambda _: trio.sleep_forever())  # noqa: ASYNC105 - awaited by the SDK


@engram(backend="asyncio")
async def charges_forever_in_asyncio(ctx: AsyncContext[Any]) -> None:
    await ctx.execute_once("charge", lambda _: asyncio.sleep(60))


@pytest.mark.parametrize("charger", [charges_forever_in_trio, charges_forever_in_asyncio], ids=["trio", "asyncio"])
def test_a_cancelled_effect_gives_its_claim_back(charger: Any) -> None:
    environment = EngramEnvironment()

    def cancel_once_claimed(method: str, *_: Any) -> None:
        if method == "POST":
            environment.cancel()

    environment.cluster.before = cancel_once_claimed
    outcome = environment.run(charger)

    claim = next(found for path, found in environment.cluster.objects.items() if "effectclaims" in path)
    assert (outcome.exit_code, outcome.hung) == (143, False)
    assert claim["spec"]["completionStatus"] == "released"
    assert "holderIdentity" not in claim["spec"]


@engram
def charges(ctx: Context[Any]) -> dict[str, Any]:
    outcome = ctx.execute_once("charge", lambda lease: {"key": lease.idempotency_key})
    return {"executed": outcome.executed, **outcome.details}


def test_an_effect_that_another_attempt_holds_ends_the_step_so_that_it_is_tried_again() -> None:
    environment = EngramEnvironment()
    environment.claim_effect_elsewhere("charge")

    outcome = environment.run(charges)

    assert (outcome.phase, outcome.exit_code, outcome.status["exitClass"]) == ("Failed", 1, "retry")
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["retryable"]) == ("EffectInProgress", True)
    assert outcome.error["details"]["holder"] == "another-pod:0"
    assert outcome.claims["charge"]["holderIdentity"] == "another-pod:0"


def test_an_effect_whose_holder_was_killed_is_taken_over_with_the_same_idempotency_key() -> None:
    environment = EngramEnvironment()
    key = environment.run(charges).output["key"]
    environment = EngramEnvironment()
    environment.claim_effect_elsewhere("charge", lease_seconds_left=0)

    outcome = environment.run(charges)

    assert outcome.output == {"executed": True, "key": key}
    assert outcome.claims["charge"]["leaseTransitions"] == 1
    assert environment.claims["charge"]["completionStatus"] == "completed"


def test_the_newest_pod_takes_over_and_its_predecessor_is_refused() -> None:
    environment = EngramEnvironment()
    environment.status = {"phase": "Running", "retries": 0, "podName": "the-crashed-pod"}

    def successor_starts() -> dict[str, bool]:
        environment.status = environment.status | {"podName": "the-next-pod"}
        return {"zombie": True}

    assert environment.run(lambda: {"ok": True}).output == {"ok": True}
    environment.status = {"phase": "Running", "retries": 0, "podName": "the-crashed-pod"}
    zombie = environment.run(successor_starts)

    assert zombie.exit_code == 1
    assert "output" not in zombie.status
    assert any("owned by Pod 'the-next-pod'" in line["msg"] for line in zombie.logs)


def test_a_failed_step_is_not_revived_by_a_start_alone() -> None:
    environment = EngramEnvironment()
    environment.status = {"phase": "Failed", "retries": 0}
    seen: list[str] = []

    outcome = environment.run(lambda: seen.append(environment.status["phase"]))

    assert (seen, outcome.phase) == (["Failed"], "Succeeded")


@pytest.mark.parametrize(("phase", "exit_code"), [("Succeeded", 0), ("Canceled", 1), ("Timeout", 1), ("Skipped", 1)])
def test_an_ended_step_is_not_run_again(phase: str, exit_code: int) -> None:
    environment = EngramEnvironment()
    environment.status = {"phase": phase, "retries": 0}
    called = threading.Event()

    outcome = environment.run(called.set)

    assert (outcome.exit_code, outcome.phase, outcome.patches) == (exit_code, phase, [])
    assert not called.is_set()


def test_a_step_whose_outcome_cannot_be_reported_has_not_succeeded() -> None:
    environment = EngramEnvironment()

    outcome = environment.run(lambda: setattr(environment.cluster, "before", refusing(StatusError(403, "no"))))

    assert outcome.exit_code == 1
    assert outcome.phase == "Running"


def test_an_outcome_is_reported_although_a_server_that_has_just_started_does_not_know_the_rights() -> None:
    environment = EngramEnvironment()

    outcome = environment.run(lambda: environment.cluster.fail(403, times=3, details={"kind": "stepruns"}))

    assert (outcome.exit_code, outcome.phase) == (0, "Succeeded")


def test_a_pod_without_the_right_to_claim_its_step_does_no_work() -> None:
    environment = EngramEnvironment()
    environment.cluster.fail(403, times=99, details={"kind": "stepruns"})
    called = threading.Event()

    outcome = environment.run(called.set)

    assert outcome.exit_code == 1
    assert not called.is_set()


def test_an_api_server_that_is_away_at_the_start_does_not_stop_the_step() -> None:
    environment = EngramEnvironment(environ={"BUBU_K8S_PATCH_MAX_RETRIES": "0", "BUBU_ENGRAM_NAME": ""})
    environment.cluster.objects[environment.step_run_path]["spec"].pop("engramRef")
    environment.cluster.before = refusing(UnreachableError("refused"))

    outcome = environment.run(lambda: setattr(environment.cluster, "before", None))

    assert (outcome.exit_code, outcome.phase) == (0, "Succeeded")


def test_a_malformed_environment_is_reported_although_nothing_was_loaded() -> None:
    outcome = EngramEnvironment(environ={"BUBU_STEP_CONFIG": "{"}).run(lambda: None)

    assert (outcome.exit_code, outcome.phase) == (1, "Failed")
    assert outcome.error is not None
    assert outcome.error["type"] == "initialization_error"
    assert "BUBU_STEP_CONFIG is not valid JSON" in outcome.error["message"]


def test_a_wrong_context_annotation_is_reported() -> None:
    async def main(ctx: Context[Any]) -> None:
        del ctx

    outcome = EngramEnvironment().run(main)

    assert outcome.error is not None
    assert "annotate 'ctx' with AsyncContext" in outcome.error["message"]


def test_too_many_parameters_fail_where_they_are_written() -> None:
    with pytest.raises(TypeError, match="'a', 'c' are neither"):
        engram(lambda ctx, a, c: None)


def test_a_backend_for_a_plain_function_fails_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="needs an 'async def'"):
        engram(backend="trio")(lambda: None)


async def test_an_environment_runs_inside_a_trio_test() -> None:
    outcome = await EngramEnvironment().run_async(forecast, {"city": "Oslo"})

    assert outcome.exit_code == 0


def test_a_good_engram_conforms() -> None:
    check_batch(forecast, {"city": "Oslo"}, validate_result=lambda output: output["summary"].index("Oslo"))


def test_the_suite_tells_failure_and_success_apart() -> None:
    with pytest.raises(ConformanceError, match="the engram failed"):
        check_batch(forecast, {})
    with pytest.raises(ConformanceError, match="an error was expected"):
        check_batch(forecast, {"city": "Oslo"}, expect_error=True)


def test_the_suite_demands_a_structured_error_when_asked_to() -> None:
    def plain() -> None:
        raise ValueError("x")

    def structured() -> None:
        raise EngramError("x", code="C")

    with pytest.raises(ConformanceError, match="plain exception"):
        check_batch(plain, expect_error=True, require_structured_error=True)
    check_batch(structured, expect_error=True, require_structured_error=True)


def test_termination_during_preparation_reports_a_retry() -> None:
    environment = EngramEnvironment()
    held = threading.Event()

    def slow(method: str, path: str, _: Any) -> None:
        if method == "GET" and "configmaps" in path:
            environment.cancel()
            held.wait(5)

    environment.cluster.before = slow
    began = time.monotonic()
    outcome = environment.run(lambda inputs: None, {"a": {"$bubuConfigMapRef": "c:k"}})
    held.set()

    assert (outcome.exit_code, outcome.status["exitClass"]) == (143, "retry")
    assert time.monotonic() - began < 4


async def _raise(error: Exception) -> None:
    raise error
