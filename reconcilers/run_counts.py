"""Counts ended runs and steps, and retries, as their objects change: who writes an end does not matter.

Each change is counted once, by the process that owns the run. An end that nobody watches, because it is written while
no operator leads, is not counted: series are for rates, and the objects themselves have the truth.
Source: operator contract 8.1 and 8.2; the reference counts two phases of runs, and only the ends that it writes itself.
"""

from __future__ import annotations

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object, controller_of, has_ended
from core.api.phases import ExitClass, Phase, member_or_none
from core.engine.step.outcome import UNDETERMINED_EXIT_CODE, exit_class
from core.engine.step.record import retries_of
from core.kube.informer import Change
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.telemetry import catalogue, metrics
from reconcilers.adapters.world import World


class RunCounts:
    """Handlers for the informers of StepRuns and StoryRuns."""

    def __init__(self, ownership: Ownership = WHOLE_CLUSTER) -> None:
        self._ownership = ownership

    def connect(self, world: World) -> None:
        world.step_runs.add_handler(self.step_run_changed)
        world.story_runs.add_handler(self.story_run_changed)

    def story_run_changed(self, change: Change) -> None:
        run = _just_ended(change)
        if run is None or not self._owns(run, run["metadata"]["name"]):
            return
        namespace, phase = run["metadata"]["namespace"], run["status"]["phase"]
        story = _name_in(run, "storyRef")
        metrics.count(catalogue.STORY_RUNS, namespace=namespace, story=story, phase=phase)
        if (seconds := _seconds(run)) is not None:
            metrics.observe(catalogue.STORY_RUN_DURATION, seconds, namespace=namespace, story=story, phase=phase)

    def step_run_changed(self, change: Change) -> None:
        step_run = change.new
        if step_run is None or not self._owns(step_run, (controller_of(step_run) or {}).get("name", "")):
            return
        namespace, engram = step_run["metadata"]["namespace"], _name_in(step_run, "engramRef")
        status = step_run.get("status") or {}
        if has_ended(step_run):
            if _just_ended(change) is not None:
                phase = status["phase"]
                metrics.count(catalogue.STEP_RUNS, namespace=namespace, engram=engram, phase=phase)
                if (seconds := _seconds(step_run)) is not None:
                    metrics.observe(
                        catalogue.STEP_RUN_DURATION, seconds, namespace=namespace, engram=engram, phase=phase
                    )
        elif status.get("phase") == Phase.PENDING and retries_of(status):  # else ``old`` need not be read
            before = (change.old or {}).get("status") or {}
            if change.old is not None and retries_of(status) > retries_of(before):
                reason = _failure_class(before, status)
                metrics.count(catalogue.STEP_RUN_RETRIES, namespace=namespace, engram=engram, reason=reason)

    def _owns(self, obj: Object, run: str) -> bool:
        return self._ownership.owns((obj["metadata"]["namespace"], run))


def _just_ended(change: Change) -> Object | None:
    """The object in the version in which it ended; None for an object that is seen for the first time: it may have
    been counted before a restart.
    """
    if change.new is None or not has_ended(change.new) or change.old is None or has_ended(change.old):
        return None
    return change.new


def _seconds(obj: Object) -> float | None:
    """How long it took; None if an instant is missing or damaged."""
    status = obj["status"]
    started, finished = (parse_instant_or_none(status.get(key)) for key in ("startedAt", "finishedAt"))
    return None if started is None or finished is None else max((finished - started).total_seconds(), 0.0)


def _failure_class(before: Object, after: Object) -> str:
    """What the container reported about the failure, else what its exit code means."""
    reported, code = member_or_none(ExitClass, before.get("exitClass")), after.get("exitCode")
    return str(reported or exit_class(code if isinstance(code, int) and code else UNDETERMINED_EXIT_CODE))


def _name_in(obj: Object, reference: str) -> str:
    found = (obj.get("spec") or {}).get(reference) or {}
    return str(found.get("name") or "")
