"""What shows, in a running operator, that a setting has its effect.

A ``Play`` creates objects with a name of their own, and returns what the operator makes of them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import trio

from bubu_contract.instants import parse_instant, parse_instant_or_none
from bubu_contract.submission import trigger_name
from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import (
    DEPLOYMENT,
    ENGRAM,
    ENGRAM_TEMPLATE,
    IMPULSE,
    IMPULSE_TEMPLATE,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
)
from core.engine.clock import system_now
from tests.integration.live_operator import LiveOperator
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE, status_of, step, step_phases

Play: TypeAlias = Callable[[LiveOperator, str], Awaitable[Any]]

NOTHING: Final = {"name": "nothing", "type": "condition"}
"""A step that ends at once, without a container."""
FAR: Final = "elsewhere"
"""A namespace that does not exist."""
CALLER: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


# Runs.


def phase_of_run(*steps: Object, inputs: Object | None = None, **spec: Any) -> Play:
    """The phase in which a run with these steps ends."""

    async def play(live: LiveOperator, name: str) -> Any:
        return status_of(await live.finish(name, *steps, inputs=inputs, **spec)).get("phase")

    return play


def phase_of_step(wanted: str, *steps: Object, **spec: Any) -> Play:
    """The phase in which this step of such a run ends."""

    async def play(live: LiveOperator, name: str) -> Any:
        return step_phases(await live.finish(name, *steps, **spec)).get(wanted)

    return play


def undone(*steps: Object, **spec: Any) -> Play:
    """Whether the compensation of such a run ends in time."""

    async def play(live: LiveOperator, name: str) -> Any:
        return step_phases(await live.finish(name, *steps, **spec)).get("undo") == "Succeeded"

    return play


def rendered(template: str, inputs: Object | None = None) -> Play:
    """What the template gives as the output of a run, or the phase of a run that fails with it."""

    async def play(live: LiveOperator, name: str) -> Any:
        status = status_of(
            await live.finish(name, NOTHING, inputs={"l": [0] * 20, **(inputs or {})}, output={"x": template})
        )
        return status["output"]["x"] if status["phase"] == "Succeeded" else status["phase"]

    return play


async def depth_of_calls(live: LiveOperator, name: str) -> Any:
    """The phase of a run that calls a Story that calls a Story."""
    await live.world.story(f"{name}-inner", NOTHING)
    await live.world.story(f"{name}-middle", _call(f"{name}-inner"))
    return status_of(await live.finish(name, _call(f"{name}-middle"))).get("phase")


def _call(story: str) -> Object:
    return {"name": "call", "type": "executeStory", "with": {"storyRef": {"name": story}}}


async def next_retry(live: LiveOperator, name: str) -> Any:
    """Whether a step whose attempt has failed is tried again ``soon`` or ``later``, or else its phase."""
    await live.start(name, step("work", "broken"))
    seen = await live.world.until(
        STEP_RUN, f"{name}-work", lambda each: bool({"nextRetryAt", "finishedAt"} & status_of(each).keys())
    )
    retry_at = parse_instant_or_none(status_of(seen).get("nextRetryAt"))
    if retry_at is None:
        return status_of(seen).get("phase")
    return "later" if (retry_at - system_now()).total_seconds() > 60 else "soon"


async def second_delay(live: LiveOperator, name: str) -> Any:
    """How the delay before the second retry of a step compares with the first one."""
    await live.start(name, step("work", "broken"))
    seen = await live.world.until(STEP_RUN, f"{name}-work", lambda each: len(_delays(each)) > 1)
    first, second, *_ = _delays(seen)
    return "doubled" if second > 1.5 * first else "the same"


def _delays(step_run: Object) -> list[float]:
    """In seconds."""
    failed = status_of(step_run).get("failedAttempts") or ()
    instants = [(parse_instant(each["finishedAt"]), parse_instant(each["retryAt"])) for each in failed]
    return [(retry_at - failed_at).total_seconds() for failed_at, retry_at in instants]


def soon_ended(*steps: Object) -> Play:
    """Whether a run with these steps ends within a moment; nobody waits for long, because most of them do not."""

    async def play(live: LiveOperator, name: str) -> Any:
        await live.start(name, *steps)
        return await _ended_within(live, name, 0.7)

    return play


def finally_ended(*steps: Object) -> Play:
    """The same without the haste."""

    async def play(live: LiveOperator, name: str) -> Any:
        await live.finish(f"{name}-again", *steps)
        return "ended"

    return play


async def canceled(live: LiveOperator, name: str) -> Any:
    """Whether a canceled run ends while its program ignores the request to end."""
    await _cancel(live, name)
    return await _ended_within(live, name, 0.7)


async def canceled_again(live: LiveOperator, name: str) -> Any:
    await _cancel(live, f"{name}-again")
    await live.world.finished(f"{name}-again")
    return "ended"


async def _cancel(live: LiveOperator, name: str) -> None:
    await live.start(name, step("work", "stubborn"))
    await live.world.until(STORY_RUN, name, lambda run: step_phases(run).get("work") == "Running")
    await live.jobs_of(name)
    await live.world.client.patch(STORY_RUN, name, {"spec": {"cancelRequested": True}}, namespace=NAMESPACE_NAME)


async def _ended_within(live: LiveOperator, name: str, seconds: float) -> str:
    try:
        await live.world.finished(name, seconds=seconds)
    except AssertionError:
        return "goes on"
    return "ended"


async def finished_run(live: LiveOperator, name: str) -> Any:
    """A run that has ended, and is kept."""
    return status_of(await live.finish(name, NOTHING)).get("phase")


async def realtime_run(live: LiveOperator, name: str) -> Any:
    """Whether the children of a realtime run that has ended are deleted."""
    run = await live.finish(name, NOTHING, pattern="realtime")
    return bool(status_of(run).get("childrenCleanedAt"))


async def children_are_gone(live: LiveOperator, name: str) -> Any:
    """The same for that run, once they are."""
    run = await live.world.until(STORY_RUN, name, lambda run: bool(status_of(run).get("childrenCleanedAt")))
    return bool(status_of(run).get("childrenCleanedAt"))


async def run_is_gone(live: LiveOperator, name: str) -> Any:
    await live.world.gone(STORY_RUN, name)
    return "gone"


def priority(policy: Object) -> Play:
    """The priority of a run whose Story has this policy."""

    async def play(live: LiveOperator, name: str) -> Any:
        run = await live.finish(name, NOTHING, policy=policy)
        return run["metadata"]["labels"].get(keys.LABEL_QUEUE_PRIORITY)

    return play


def one_at_a_time(**policy: Any) -> Play:
    """How many of two steps have a container, when the other says that it is queued."""

    async def play(live: LiveOperator, name: str) -> Any:
        await live.start(name, step("a", "patient"), step("b", "patient"), policy=policy)
        await live.world.until(STORY_RUN, name, lambda run: "queue" in str(status_of(run).get("stepStates")).lower())
        return len(await live.jobs_of(name))

    return play


async def both_run(live: LiveOperator, name: str) -> Any:
    return len(await live.jobs_of(name, 2))


async def traced_container(live: LiveOperator, name: str) -> Any:
    """The trace that a container gets of the caller of its run."""
    await live.world.story(name, step("work", "noop"))
    await live.world.run(name, name, annotations={keys.ANNOTATION_TRACE_PARENT: CALLER})
    [job] = await live.jobs_of(name)
    return variable(job["spec"]["template"]["spec"], "TRACEPARENT")


async def is_logged(live: LiveOperator, name: str) -> Any:
    """Whether the operator logs the output of a run."""
    await live.finish(name, NOTHING, output={"x": "1"})
    return _is_logged(live, name)


async def only_the_next_is_logged(live: LiveOperator, name: str) -> Any:
    """Whether it logs that of the next run, and never logged that of the first one, whose end it saw before."""
    again = f"{name}-again"
    await live.finish(again, NOTHING, output={"x": "1"})

    async def is_told() -> bool:
        await trio.lowlevel.checkpoint()
        return _is_logged(live, again)

    await live.world.eventually(is_told)
    return not _is_logged(live, name)


def _is_logged(live: LiveOperator, name: str) -> bool:
    return any("ended with an output" in text and f"'team/{name}'" in text for text in live.log.texts)


# References.


async def foreign_engram(live: LiveOperator, name: str) -> Any:
    """Whether a Story is ready, and its run goes on, whose Engram is in another namespace; without a grant."""
    far = {"name": "far", "ref": {"name": "far", "namespace": OPERATOR_NAMESPACE}}
    await live.world.story(f"{name}-unused", far)
    story = await live.world.until(STORY, f"{name}-unused", lambda obj: _ready(obj) is not None)
    await live.start(name, far)
    await live.world.until(STORY_RUN, name, lambda run: "grant" in str(status_of(run).get("stepStates")).lower())
    return _ready(story)


async def foreign_engram_works(live: LiveOperator, name: str) -> Any:
    """The same Story and run, once both are well."""
    story = await live.world.until(STORY, f"{name}-unused", lambda obj: _ready(obj) == "True")
    await live.world.until(STORY_RUN, name, lambda run: status_of(run).get("phase") == "Succeeded")
    return _ready(story)


def _ready(obj: Object) -> Any:
    return dict(find_condition(status_of(obj).get("conditions") or (), "Ready") or {}).get("status")


# Definitions.


async def engram_template(live: LiveOperator, name: str) -> Any:
    """The state of an EngramTemplate that names no image."""
    await live.world.create(ENGRAM_TEMPLATE, name, {"version": "1.0.0", "supportedModes": ["job"]}, namespaced=False)
    await live.world.create(ENGRAM, name, {"version": "1.0.0", "templateRef": {"name": name}})
    seen = await live.world.until(ENGRAM_TEMPLATE, name, _is_validated)
    return status_of(seen)["validationStatus"]


async def valid_engram_template(live: LiveOperator, name: str) -> Any:
    """The same, once it is valid; and a step runs with it."""
    seen = await live.world.until(ENGRAM_TEMPLATE, name, lambda obj: status_of(obj).get("validationStatus") == "valid")
    run = await live.finish(f"{name}-run", step("work", name))
    return status_of(seen)["validationStatus"] if status_of(run)["phase"] == "Succeeded" else status_of(run)


def _is_validated(obj: Object) -> bool:
    return bool(status_of(obj).get("validationStatus"))


async def impulse_template(live: LiveOperator, name: str) -> Any:
    """The state of an ImpulseTemplate that names no image."""
    described = {"version": "1", "supportedModes": ["deployment"]}
    await live.world.create(IMPULSE_TEMPLATE, name, described, namespaced=False)
    await live.world.story(f"{name}-story", NOTHING)
    spec = {"templateRef": {"name": name}, "storyRef": {"name": f"{name}-story"}}
    await live.world.create(IMPULSE, name, spec)
    seen = await live.world.until(IMPULSE_TEMPLATE, name, _is_validated)
    return status_of(seen)["validationStatus"]


async def valid_impulse_template(live: LiveOperator, name: str) -> Any:
    """The same, once it is valid, and the Impulse has a Deployment."""

    async def is_deployed() -> bool:
        return any(each.startswith(name) for each in await live.world.names(DEPLOYMENT))

    await live.world.eventually(is_deployed)
    seen = await live.world.until(IMPULSE_TEMPLATE, name, lambda obj: status_of(obj).get("validationStatus") == "valid")
    return status_of(seen)["validationStatus"]


# StoryTriggers.


async def waiting_trigger(live: LiveOperator, name: str) -> Any:
    """The decision about a StoryTrigger whose Story does not exist."""
    await _ask(live, name)
    return await _decision(live, name, "Pending")


async def rejected_trigger(live: LiveOperator, name: str) -> Any:
    return await _decision(live, name, "Rejected")


async def restored_trigger(live: LiveOperator, name: str) -> Any:
    """The decision about a StoryTrigger that a backup has brought back before its answer."""
    await _ask(live, name, labels={keys.LABEL_VELERO_RESTORE: "nightly"})
    await _decision(live, name, "Pending")
    await live.world.story(name, NOTHING)
    found = await live.world.until(
        STORY_TRIGGER, _trigger_name(name), lambda obj: status_of(obj).get("decision") != "Pending"
    )
    return status_of(found)["decision"]


async def answered_trigger(live: LiveOperator, name: str) -> Any:
    """The decision about a StoryTrigger that is refused for good."""
    await _ask(live, name, FAR)
    return await _decision(live, name, "Rejected", FAR)


async def trigger_is_gone(live: LiveOperator, name: str) -> Any:
    await live.world.gone(STORY_TRIGGER, _trigger_name(name, FAR))
    return "gone"


async def _ask(live: LiveOperator, name: str, namespace: str = "", **metadata: Any) -> None:
    """A StoryTrigger for the Story with its name."""
    where = {"namespace": namespace} if namespace else {}
    spec = {"storyRef": {"name": name, **where}, "deliveryIdentity": {"submissionId": name}}
    await live.world.create(STORY_TRIGGER, _trigger_name(name, **where), spec, **metadata)


async def _decision(live: LiveOperator, name: str, wanted: str, namespace: str = NAMESPACE_NAME) -> Any:
    """Wait until the decision is this one; returns it."""
    found = await live.world.until(
        STORY_TRIGGER, _trigger_name(name, namespace), lambda obj: status_of(obj).get("decision") == wanted
    )
    return status_of(found)["decision"]


def _trigger_name(name: str, namespace: str = NAMESPACE_NAME) -> str:
    return trigger_name(namespace, name, name)


# Containers.


def of_pod(look: Callable[[Object], Any], **fields: Any) -> Play:
    """What a look at the Pod of a step's Job gives. ``fields`` belong to the step."""

    async def play(live: LiveOperator, name: str) -> Any:
        await live.start(name, step("work", "noop", **fields))
        [job] = await live.jobs_of(name)
        return look(job["spec"]["template"]["spec"])

    return play


def of_execution(field: str, execution: Object) -> Play:
    """A field of the Pod of a step with these settings."""
    return of_pod(lambda pod: pod.get(field), execution=execution)


def of_variable(name: str) -> Play:
    """The value of a variable of a step's container; None: it is not set."""
    return of_pod(lambda pod: variable(pod, name))


def variable(pod: Object, name: str) -> Any:
    found = [each for each in pod["containers"][0]["env"] if each["name"] == name]
    return found[-1].get("value") if found else None


def script_step(**fields: Any) -> Play:
    """The phase of a run with a script step."""
    return phase_of_run({"name": "say", "run": "exit 0", **fields})


async def with_credentials(live: LiveOperator, name: str) -> Any:
    """Whether a step has a container, or waits for the credentials of the store."""
    await live.start(name, step("work", "noop"))
    found: list[str] = []

    async def is_decided() -> bool:
        found.extend(["has a container"] * len(await live.jobs_of(name, 0)))
        status = status_of(await live.world.client.get(STORY_RUN, name, NAMESPACE_NAME))
        texts = [status.get("message"), *(each.get("message") for each in (status.get("stepStates") or {}).values())]
        found.extend("waits" for text in texts if "ecret" in str(text) or "credentials" in str(text))
        return bool(found)

    await live.world.eventually(is_decided)
    return found[0]


async def gets_credentials(live: LiveOperator, name: str) -> Any:
    """The same step, once it has a container."""
    await live.jobs_of(name)
    return "has a container"


async def marked_for_stored_data(live: LiveOperator, name: str) -> Any:
    """Whether the stored data of a run is deleted with it: the finalizer is for that."""
    run = await live.finish(name, NOTHING)
    return bool(run["metadata"].get("finalizers"))


async def reads_stored_input(live: LiveOperator, name: str) -> Any:
    """Whether an input that is stored in the first folder, and not in the second one, is 7."""
    key = f"outputs/{NAMESPACE_NAME}/{name}/output.json"
    for folder, value in ((live.store, 7), (live.store / "second", 8)):
        _store(folder / key, value)
    reads = {**NOTHING, "if": "inputs.n == 7"}
    return await phase_of_step("nothing", reads, inputs={"n": {"$bubuStorageRef": key}})(live, name)


async def reads_stored_output(live: LiveOperator, name: str) -> Any:
    """The phase of a step that reads an output of another step that is stored."""
    key = f"outputs/{NAMESPACE_NAME}/{name}/output.json"
    _store(live.store / key, 7)
    reads = {**NOTHING, "needs": ["work"], "if": "steps.work.output.n == 7"}
    says = step("work", "says", **{"with": {"key": key}})
    return await phase_of_step("nothing", says, reads)(live, name)


def _store(file: Path, value: int) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"contentType": "json", "data": value}), encoding="utf-8")
