"""Logs of a run's steps, and what to show when a run failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import trio

from core.api import keys
from core.api.identity import label_value
from core.api.resource import POD
from core.api.suggestion import closest
from core.kube.errors import ApiError, KubeError
from core.kube.transport import open_lines
from core.workloads.step_workload import ENGRAM_CONTAINER
from manager.cli.problem import CommandError
from manager.cli.render.sign import word_of
from manager.cli.runs import look_at
from manager.cli.session import Session
from manager.cli.view import RunView, StepView

Object = dict[str, Any]

LAST_LINES: Final = 20
_POLL_SECONDS: Final = 0.5


async def print_logs(
    session: Session,
    run: Object,
    *,
    steps: Sequence[str],
    follow: bool,
    failed: bool = False,
    attempt: int | None = None,
    tail: int | None = None,
    since_seconds: int | None = None,
    matches: Callable[[str], bool] = lambda line: True,
) -> None:
    """Every line as ``step[attempt] text``; with ``follow`` until the run's Pods have ended."""
    parameters: dict[str, str] = {"container": ENGRAM_CONTAINER}
    if tail is not None:
        parameters["tailLines"] = str(tail)
    if since_seconds is not None:
        parameters["sinceSeconds"] = str(since_seconds)
    seen: set[str] = set()

    async def show(pod: Object, label: str) -> None:
        await _stream(
            session,
            pod,
            {**parameters, **({"follow": "true"} if follow else {})},
            lambda line: session.console.result(f"{label} {line}") if matches(line) else None,
        )

    async with trio.open_nursery() as nursery:
        while True:
            pods = await _pods(session, run)
            for pod, label, number in _labelled(pods):
                wanted = (
                    (not steps or pod["metadata"]["labels"].get(keys.LABEL_STEP) in map(label_value, steps))
                    and (attempt is None or number == attempt)
                    and (not failed or (pod.get("status") or {}).get("phase") == "Failed")
                )
                name = pod["metadata"]["name"]
                if wanted and name not in seen and _has_started(pod):
                    seen.add(name)
                    if follow:
                        nursery.start_soon(show, pod, label)
                    else:
                        await show(pod, label)
            if not follow or await _over(session, run):
                break
            await trio.sleep(_POLL_SECONDS)
    if steps and not seen:
        raise CommandError(
            f"no logs of {', '.join(steps)}: no Pod of {'it' if len(steps) == 1 else 'them'} is left, or none yet",
            remedy="wait for one with --follow",
        )


async def refuse_unknown_steps(session: Session, run: Object, steps: Sequence[str]) -> None:
    """Raises:
    CommandError: a step that the run does not have; with those it has.
    """
    if not steps:
        return
    known = [step.name for step in (await look_at(session, run)).steps]
    for step in steps:
        if step not in known:
            near = closest(step, known)
            remedy = f"did you mean {near!r}?" if near else f"it has: {', '.join(known)}"
            raise CommandError(f"run {run['metadata']['name']} has no step {step!r}", remedy=remedy)


async def failure_report(session: Session, run: Object, view: RunView) -> str:
    """The failing step, its error, its last log lines and the next useful command."""
    lines = [f"{view.name}: {word_of(view.phase)}" + (f": {view.message}" if view.message else "")]
    failing = next((step for step in view.steps if _is_culprit(step)), None)
    if failing is None:
        return lines[0]
    lines.append(f"step {failing.name}: {word_of(failing.phase)}" + (f", {failing.detail}" if failing.detail else ""))
    lines += [f"  {name}: {value}" for name, value in failing.error]
    tail = await _last_lines(session, run, failing.name)
    if tail:
        lines += [f"last {len(tail)} log lines of {failing.name}:", *(f"  | {line}" for line in tail)]
    lines.append(f"more: {session.command('logs', view.name, failing.name)}")
    return "\n".join(lines)


def _is_culprit(step: StepView) -> bool:
    return step.phase is not None and step.phase.failing and not step.allow_failure


async def _last_lines(session: Session, run: Object, step: str) -> list[str]:
    pods = [
        pod for pod in await _pods(session, run) if pod["metadata"]["labels"].get(keys.LABEL_STEP) == label_value(step)
    ]
    if not pods:
        return []
    collected: list[str] = []
    try:
        await _stream(
            session, pods[-1], {"container": ENGRAM_CONTAINER, "tailLines": str(LAST_LINES)}, collected.append
        )
    except KubeError:
        return []
    return collected


async def _pods(session: Session, run: Object) -> list[Object]:
    """Oldest first."""
    selector = f"{keys.LABEL_STORY_RUN}={label_value(run['metadata']['name'])}"
    found = await session.client.list(POD, run["metadata"]["namespace"], label_selector=selector)
    return sorted(found.items, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def _labelled(pods: list[Object]) -> list[tuple[Object, str, int]]:
    """Each Pod with its prefix ``step[attempt]`` and attempt number, counted in order of creation."""
    counts: dict[str, int] = {}
    labelled = []
    for pod in pods:
        step = pod["metadata"]["labels"].get(keys.LABEL_STEP, pod["metadata"]["name"])
        counts[step] = counts.get(step, 0) + 1
        labelled.append((pod, f"{step}[{counts[step]}]", counts[step]))
    return labelled


def _has_started(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any({"running", "terminated"} & set(status.get("state") or {}) for status in statuses)


async def _over(session: Session, run: Object) -> bool:
    from core.api.resource import STORY_RUN

    metadata = run["metadata"]
    stored = await session.client.get(STORY_RUN, metadata["name"], metadata["namespace"])
    return bool((stored.get("status") or {}).get("finishedAt"))


async def _stream(session: Session, pod: Object, parameters: dict[str, str], show: Callable[[str], object]) -> None:
    metadata = pod["metadata"]
    path = POD.path(metadata["namespace"], metadata["name"], "log")
    try:
        async with (
            session.client.open_stream("GET", path, params=parameters) as response,
            open_lines(response) as lines,
        ):
            async for line in lines:
                show(line)
    except ApiError as error:
        session.console.note(f"no logs of Pod {metadata['name']}: {error.message}")
