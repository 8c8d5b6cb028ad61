"""The state of an attempt of a realtime step, from one look at it. Pure: objects in, one ``Observation`` out.

Kubernetes starts a failing container again, and so it does with a Pod that has failed. The attempt has failed when that
happened more often than ``MOST_FAILURES`` times, and once more for each ``FORGIVEN_AFTER`` that the workload has lived:
a stream that runs for weeks may fail now and then. The worker has finished when the binding says so; the attempt has
succeeded when the hub is done with everything that goes to the step. Source: streaming contract 6.1.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import Object, ReadOnlyObject
from core.api.phases import ConditionType, Phase, Reason, StepReason
from core.engine.ports import AttemptState, LiveStream, Observation
from core.workloads import stream_binding
from core.workloads.hub_lease import HubSilence
from reconcilers.adapters.observation import why_not_running
from reconcilers.adapters.stream_look import StreamLook, attempt_of, container_of, has_failed, last_end

MOST_FAILURES: Final = 5
"""With the pauses of Kubernetes (10 s, 20 s, 40 s, …) the sixth failure comes after about two and a half minutes."""
FORGIVEN_AFTER: Final = timedelta(minutes=10)
"""After this time Kubernetes forgets failures, too."""

_FAILED: Final = frozenset({"TransportFailed", "ValidationFailed", "InvalidConfiguration"})
"""Reasons of a binding that is not ready and will not be by waiting."""
_NO_BINDING: Final = "TransportBindingGone"
_WHY_NO_POD: Final = "a quota or a policy may refuse it, or the controllers of Deployments and StatefulSets do not run"


def observe_stream(look: StreamLook) -> Observation:
    """One observation of a StepRun that the executor of streams carries out."""
    binding, workload = look.current_binding, look.standing_workload
    if binding is not None and stream_binding.ending_of(binding) == stream_binding.CANCELED:
        return _under_way(look) if workload is not None else _over(look)
    if binding is not None and stream_binding.is_finished(binding):
        return _finished(look, binding)
    if binding is not None and stream_binding.ending_of(binding):
        return _ending(look, "all steps that it needs have ended; the operator is stopping its worker")
    if workload is None and look.jobs_binding is not None:
        live = replace(live_stream(look.jobs_binding, look.hub_silence), has_client=False)
        return Observation(look.step_run, AttemptState.RUNNING, attempt=look.attempt, live=live)
    if workload is None:
        return _over(look)
    if attempt_of(workload) != look.attempt or look.has_exited:
        return _under_way(look)
    return _gone_binding(look) or _failed(look) or _under_way(look)


def live_stream(binding: ReadOnlyObject | None, silence: HubSilence | None = None) -> LiveStream:
    """What the StepRun shows of the stream, from the status that the hub writes. That a client is connected does not
    count if a lost hub has left it so.
    """
    status = (binding or {}).get("status") or {}
    ready = find_condition(status.get("conditions") or (), ConditionType.READY) or {}
    stream, message = status.get("stream") or {}, str(ready.get("message") or "")
    is_connected = stream.get("connected") is True
    since = None if is_connected else parse_instant_or_none(stream.get("disconnectedAt"))
    is_left = silence is not None and silence.covers(stream) and (is_connected or silence.back_at is None)
    if silence is not None and is_left and ready.get("reason") not in _FAILED:
        since = silence.since if is_connected else since
        return LiveStream(Phase.PAUSED, Reason.AWAITING_TRANSPORT, silence.why, False, since)
    if ready.get("status") == "True":
        return LiveStream(Phase.RUNNING, Reason.TRANSPORT_READY, message or "the step is connected", True, since)
    if ready.get("reason") in _FAILED:
        reason = Reason.TRANSPORT_FAILED
        if ready["reason"] == Reason.INVALID_CONFIGURATION:
            reason = Reason.INVALID_CONFIGURATION
        return LiveStream(Phase.BLOCKED, reason, message or "the hub cannot serve the run", is_connected, since)
    text = message or "waits until the hub serves the step"
    return LiveStream(Phase.PAUSED, Reason.AWAITING_TRANSPORT, text, is_connected, since)


def _over(look: StreamLook) -> Observation:
    lingering = look.workload is not None or look.is_alive
    return Observation(look.step_run, AttemptState.LINGERING if lingering else AttemptState.ABSENT)


def _finished(look: StreamLook, binding: Object) -> Observation:
    if look.standing_workload is not None:
        return _ending(look, "its worker has finished; the operator is removing it")
    if not stream_binding.is_drained(binding):
        why = f"; {look.hub_silence.why}" if look.hub_silence is not None else ""
        return _ending(look, f"its worker has finished; the hub still has messages from or to it{why}")
    return Observation(look.step_run, AttemptState.SUCCEEDED, attempt=look.attempt, exit_code=0)


def _ending(look: StreamLook, message: str) -> Observation:
    """The worker has ended or is about to, and the attempt is not over yet."""
    live = LiveStream(Phase.RUNNING, Reason.RUNNING, message, is_connected=False)
    return Observation(look.step_run, AttemptState.RUNNING, attempt=look.attempt, live=live)


def _gone_binding(look: StreamLook) -> Observation | None:
    """The binding was deleted, and with it the right of the container to connect."""
    if look.current_binding is not None:
        return None
    message = "the TransportBinding of the step was deleted, or admits another generation"
    return _observation(look, AttemptState.FAILED, reason=_NO_BINDING, message=message)


def _failed(look: StreamLook) -> Observation | None:
    workload, failures, pod = look.standing_workload, _failures(look), next(iter(look.own_pods), None)
    if workload is None or pod is None or failures <= MOST_FAILURES or _runs(look.newest_pod):
        return None
    container = container_of(pod)
    ended = next((end for key in ("state", "lastState") if (end := last_end(container, key)) is not None), {})
    finished_at = parse_instant_or_none(ended.get("finishedAt"))
    made_at = parse_instant_or_none(workload["metadata"].get("creationTimestamp"))
    if finished_at is not None and made_at is not None:
        failures -= (finished_at - made_at) // FORGIVEN_AFTER
    if failures <= MOST_FAILURES:
        return None
    status = pod.get("status") or {}
    return _observation(
        look,
        AttemptState.FAILED,
        exit_code=ended.get("exitCode"),
        reason=status.get("reason") or ended.get("reason", ""),
        message=f"it failed repeatedly, {_failures(look)} times since {workload['metadata']['creationTimestamp']}",
        started_at=parse_instant_or_none(ended.get("startedAt")),
        finished_at=finished_at,
    )


def _failures(look: StreamLook) -> int:
    """How often container or Pod have failed in this attempt. An end with exit code 0 does not get here."""
    pods = [pod for pod in look.own_pods if has_failed(pod)]
    newest = look.newest_pod
    container = container_of(newest) if newest is not None else {}
    has_ended = not _runs(newest) and any(last_end(container, key) is not None for key in ("state", "lastState"))
    return len(pods) + int(container.get("restartCount") or 0) + int(has_ended)


def _runs(pod: Object | None) -> bool:
    state = (container_of(pod) if pod is not None else {}).get("state") or {}
    return state.get("running") is not None


def _under_way(look: StreamLook) -> Observation:
    """The attempt runs or starts; with the reason if something delays it."""
    pod = look.newest_pod
    state = (container_of(pod) if pod is not None else {}).get("state") or {}
    if (running := state.get("running")) is not None:
        return _observation(look, AttemptState.RUNNING, started_at=parse_instant_or_none(running.get("startedAt")))
    workload = look.standing_workload
    made_at = parse_instant_or_none(((workload or {}).get("metadata") or {}).get("creationTimestamp"))
    if pod is None:
        if made_at is None:
            return _observation(look, AttemptState.STARTING)
        words = {"reason": str(StepReason.NO_POD), "message": _WHY_NO_POD}
        return _observation(look, AttemptState.STARTING, waiting_since=made_at, **words)
    return _observation(look, AttemptState.STARTING, **why_not_running(pod.get("status") or {}, state))


def _observation(look: StreamLook, state: AttemptState, **more: Any) -> Observation:
    workload, pod = look.standing_workload, look.newest_pod
    annotations = ((workload or {}).get("metadata") or {}).get("annotations") or {}
    is_live = state in (AttemptState.STARTING, AttemptState.RUNNING)
    return Observation(
        look.step_run,
        state,
        attempt=attempt_of(workload) if workload is not None else None,
        deadline_at=parse_instant_or_none(annotations.get(keys.ANNOTATION_DEADLINE_AT)),
        worker=pod["metadata"]["name"] if pod is not None else "",
        live=live_stream(look.current_binding, look.hub_silence) if is_live else None,
        **more,
    )
