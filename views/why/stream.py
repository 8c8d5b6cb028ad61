"""What a step of a realtime run waits for: its container, the hub, another step, or nothing but messages. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.phases import ConditionType, Phase, Reason
from core.workloads.hub_lease import HubLease
from core.workloads.stream_binding import runs_jobs
from views.flow import StepFlow, flow_of
from views.pod_wait import container_state, pod_wait
from views.text import one_line
from views.why import workload
from views.why.cause import Cause, CauseKind, CommandIn, Facts, HubStanding

_SLOW_PERCENT: Final = 50
"""From this fill on a step is slower than the steps that send to it, and not just at work."""
_HUB: Final = "an administrator: check that the hub runs"


def hub_standing(lease: Object, now: datetime) -> HubStanding:
    """Whether a hub serves, by the Lease that it renews every five seconds."""
    found = HubLease.of(lease)
    is_there = found.is_held and found.renewed_at is not None and now <= found.renewed_at + found.lasts
    return HubStanding(is_there, None if is_there else found.renewed_at)


def last_failure(pod: Object) -> Object:
    """How its container has ended that does not run now; empty if it runs, or has never run."""
    state, container = container_state(pod), _container(pod)
    if state.get("running"):
        return {}
    ended: Object = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    return ended


def cause_of(facts: Facts, step: str, command: CommandIn) -> Cause:
    """The cause of a step that serves a stream, has begun and not ended."""
    binding, step_run = facts.bindings.get(step), facts.step_runs.get(step)
    if binding is None or step_run is None or (step_run.get("status") or {}).get("nextRetryAt"):
        return workload.cause_of(facts, step, command)
    flow, pod = flow_of(binding), facts.pods.get(step_run["metadata"]["name"])
    if not flow.is_finished and not runs_jobs(binding):
        if pod is not None and (failing := _failing(facts, step, pod, flow, command)) is not None:
            return failing
        if not _has_started(pod) if pod is not None else "Pods" not in facts.unseen:
            return _starting(facts, step, pod, command)
    hub = facts.hub
    if hub is not None and not hub.is_there:
        return _without_hub(facts, step, flow, hub)
    if hub is None and (lost := _as_the_operator_sees_it(step_run, flow)):
        since = parse_instant_or_none(lost.get("lastTransitionTime"))
        text = f"is not connected any more: {one_line(lost.get('message') or '')}"
        return _cause(facts, CauseKind.HUB, step, text, since, _HUB)
    if not flow.is_reported:
        text = "waits for the hub, which has not reported about it yet"
        return _cause(facts, CauseKind.HUB, step, text, flow.created_at, _who_runs(hub), _commands(hub))
    ready = find_condition((binding.get("status") or {}).get("conditions") or (), ConditionType.READY) or {}
    if ready.get("reason") == Reason.INVALID_CONFIGURATION:
        text = f"is not served by the hub: {one_line(ready.get('message') or '')}"
        since = parse_instant_or_none(ready.get("lastTransitionTime"))
        return _cause(facts, CauseKind.CONFIGURATION, step, text, since, "the author of the Story")
    if flow.is_finished or flow.is_ending or facts.run["spec"].get("cancelRequested"):
        return _ending(facts, step, flow)
    if not flow.is_connected and runs_jobs(binding):
        text = f"is not served by the hub yet: {one_line(ready.get('message') or '')}"
        return _cause(facts, CauseKind.CONNECTION, step, text, flow.created_at, _who_runs(hub), _commands(hub))
    if not flow.is_connected:
        return _not_connected(facts, step, flow, pod, one_line(ready.get("message") or ""), command)
    return _flowing(facts, step, flow, pod, command)


def _failing(facts: Facts, step: str, pod: Object, flow: StepFlow, command: CommandIn) -> Cause | None:
    """The cause if the container has ended, and Kubernetes starts it again."""
    container, ended = _container(pod), last_failure(pod)
    if not ended or flow.is_connected or flow.is_ending:
        return None
    code, restarts = ended.get("exitCode"), container.get("restartCount") or 0
    word = one_line(ended.get("reason") or "")
    text = f"is being restarted: its container has ended with exit code {code}" + (f" ({word})" if word else "")
    if restarts:
        text += f", {restarts} restarts so far"
    said = one_line(ended.get("message") or "")
    commands = (command(facts.namespace, "logs", facts.name, step),)
    since = parse_instant_or_none(ended.get("finishedAt"))
    who = "the author of the Engram; Kubernetes starts it again, with growing pauses"
    cause = _cause(facts, CauseKind.CONTAINER, step, text, since, who, commands)
    lines = facts.last_lines.get(step, ())
    details = (("message", said), ("refused by the hub", flow.refusal_since_connected))
    return replace(cause, facts=tuple((name, value) for name, value in details if value), last_lines=lines)


def _starting(facts: Facts, step: str, pod: Object | None, command: CommandIn) -> Cause:
    """The cause while there is no running container: what keeps it from starting, if something does."""
    cause = workload.cause_of(facts, step, command)
    if pod is not None or cause.kind not in (CauseKind.RUNNING, CauseKind.STARTING):
        return cause
    text = "waits for its Pod, which Kubernetes is about to create"
    return replace(cause, kind=CauseKind.STARTING, text=text)


def _without_hub(facts: Facts, step: str, flow: StepFlow, hub: HubStanding) -> Cause:
    lost = "; what the hub held is lost" if flow.is_connected else ""
    then = ": it starts no Jobs" if runs_jobs(facts.bindings[step]) else "; its container keeps trying to connect"
    text = f"waits for the hub, which is not running{then}{lost}"
    return _cause(facts, CauseKind.HUB, step, text, hub.since, _who_runs(hub), _commands(hub))


def _as_the_operator_sees_it(step_run: Object, flow: StepFlow) -> Object:
    """For a user who may not see the Lease: the condition of a step whose client was connected to a hub that is dead.

    Empty if the operator says so, too, or if the step has never been connected.
    """
    status = step_run.get("status") or {}
    found = find_condition(status.get("conditions") or (), ConditionType.TRANSPORT_READY) or {}
    is_lost = flow.is_connected and not flow.is_ending and not flow.is_finished and status.get("phase") == Phase.PAUSED
    return dict(found) if is_lost and found.get("status") == "False" else {}


def _ending(facts: Facts, step: str, flow: StepFlow) -> Cause:
    since = flow.disconnected_at
    if flow.is_ending and not flow.is_finished:
        text = "has received everything; the operator is stopping its worker"
    elif flow.waiting:
        done = "has finished" if flow.is_finished else "is ending"
        text = f"{done}; the hub still has {_messages(flow.waiting)} for it"
    elif flow.is_finished:
        text = "has finished; the hub is delivering its last messages" if not flow.is_drained else "has finished"
    else:
        text = "is draining: it receives what the steps before it have sent, then it is stopped"
    return _cause(facts, CauseKind.DRAIN, step, text, since, "the operator continues by itself")


def _not_connected(facts: Facts, step: str, flow: StepFlow, pod: Object | None, why: str, command: CommandIn) -> Cause:
    word = "any more" if flow.connected_at is not None else "yet"
    text = f"is not connected to the hub {word}, although its container runs"
    if refusal := flow.refusal_since_connected:
        text += f": the hub refuses its client: {refusal}"
    elif flow.trouble:
        text += f": {flow.trouble}"
    elif why:
        text += f"; the hub reports: {why}"
    running = container_state(pod).get("running") if pod is not None else None
    since = flow.disconnected_at or parse_instant_or_none((running or {}).get("startedAt")) or flow.created_at
    commands = (command(facts.namespace, "logs", facts.name, step),)
    who = "the author of the Engram, if this does not change: its image needs a streaming SDK"
    return _cause(facts, CauseKind.CONNECTION, step, text, since, who, commands)


def _flowing(facts: Facts, step: str, flow: StepFlow, pod: Object | None, command: CommandIn) -> Cause:
    extra, has_jobs = _extra(flow, pod), runs_jobs(facts.bindings[step])
    if flow.paused_by:
        holders = [_full(facts, name) for name in flow.paused_by]
        text = f"is blocked by {', '.join(holders)}"
        cause = _cause(facts, CauseKind.BACKPRESSURE, step, text, who="the steps that block it")
        return replace(cause, facts=extra)
    if flow.waiting_percent >= _SLOW_PERCENT:
        text = f"is slower than its sources: {_messages(flow.waiting)} waiting, {flow.waiting_percent} % full"
        commands = () if has_jobs else (command(facts.namespace, "logs", facts.name, step, "--follow"),)
        who = "its Jobs" if has_jobs else "its container"
        return replace(_cause(facts, CauseKind.BACKPRESSURE, step, text, None, who, commands), facts=extra)
    text = "is served by the hub; " if has_jobs else "is connected; "
    text += _passed(flow) or "no message has passed yet"
    return replace(_cause(facts, CauseKind.RUNNING, step, text, flow.connected_at), facts=extra)


def _full(facts: Facts, name: str) -> str:
    binding = facts.bindings.get(name)
    if binding is None:
        return name
    flow = flow_of(binding)
    gone = "" if flow.is_connected else ", not connected"
    return f"{name} ({flow.waiting_percent} % full{gone})"


def _passed(flow: StepFlow) -> str:
    parts = []
    if flow.has_sources:
        parts.append(f"{_messages(flow.delivered)} in")
    if flow.has_targets:
        parts.append(f"{_messages(flow.received)} out")
    if flow.waiting:
        parts.append(f"{flow.waiting:,} on their way")
    return ", ".join(parts) if flow.delivered or flow.received or flow.waiting else ""


def _messages(count: int) -> str:
    return f"{count:,} message" if count == 1 else f"{count:,} messages"


def _extra(flow: StepFlow, pod: Object | None) -> tuple[tuple[str, str], ...]:
    """What should be known although the step is connected."""
    found = []
    if flow.lost:
        found.append(("lost", _messages(flow.lost)))
    if flow.trouble:
        found.append(("last problem", flow.trouble))
    if flow.refusal and flow.refused_at is not None:
        found.append(("last refused client", f"{flow.refusal} ({format_instant(flow.refused_at)})"))
    container = _container(pod) if pod is not None else {}
    if restarts := container.get("restartCount"):
        ended = (container.get("lastState") or {}).get("terminated") or {}
        found.append(("restarts", f"{restarts}, the last after exit code {ended.get('exitCode')}"))
    return tuple(found)


def _has_started(pod: Object) -> bool:
    return pod_wait(pod) is None and bool(container_state(pod).get("running"))


def _container(pod: Object) -> Object:
    """The status of the container whose state ``container_state`` gives."""
    statuses: list[Object] = (pod.get("status") or {}).get("containerStatuses") or []
    state = container_state(pod)
    return next((each for each in statuses if each.get("state") == state), {})


def _who_runs(hub: HubStanding | None) -> str:
    return hub.who if hub is not None and hub.who else _HUB


def _commands(hub: HubStanding | None) -> tuple[str, ...]:
    return hub.commands if hub is not None else ()


def _cause(
    facts: Facts,
    kind: CauseKind,
    step: str,
    text: str,
    since: datetime | None = None,
    who: str = "",
    commands: tuple[str, ...] = (),
) -> Cause:
    return Cause(kind, facts.namespace, facts.name, step, text, since, who=who, commands=commands)
