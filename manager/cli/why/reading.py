"""What is known of a run and the runs that its steps started, fetched as far as one may see it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Final, TypeVar

from core.api import keys
from core.api.identity import label_value
from core.api.resource import EVENT, JOB, STORY_RUN
from core.engine.state import has_ended
from core.kube.errors import ApiError, ForbiddenError
from manager.cli.layout import path_of
from manager.cli.runs import pods_of, step_runs_of, story_of
from manager.cli.session import Session
from manager.cli.steplogs import last_lines_of
from manager.cli.view import view_run
from manager.cli.why.cause import Facts
from manager.cli.words import one_line

Object = dict[str, Any]
Found = TypeVar("Found")

MAX_DEPTH: Final = 8
"""Child runs of child runs are followed so far."""


async def read_facts(session: Session, run: Object, depth: int = 0) -> Facts:
    """Of ``run`` and its child runs. What one may not see is listed, and missing."""
    unseen: list[str] = []

    async def tolerant(what: str, question: Awaitable[Found], otherwise: Found) -> Found:
        try:
            return await question
        except ForbiddenError:
            unseen.append(what)
            return otherwise

    story = await tolerant("the Story", story_of(session, run), None)
    step_runs = await tolerant("StepRuns", step_runs_of(session, run), [])
    jobs = await tolerant("Jobs", _jobs_of(session, run), [])
    pods = await tolerant("Pods", pods_of(session, run, tolerant=False), [])
    children = await tolerant("child StoryRuns", children_of(session, run), [])
    names = {label_value(each["metadata"]["name"]): each["metadata"]["name"] for each in step_runs}
    by_label = {(pod["metadata"].get("labels") or {}).get(keys.LABEL_STEP_RUN, ""): pod for pod in pods}
    facts = Facts(
        run,
        story,
        step_runs={path_of(each): each for each in step_runs},
        jobs={job["metadata"]["name"]: job for job in jobs},
        pods={names[label]: pod for label, pod in by_label.items() if label in names},
        unseen=tuple(unseen),
    )
    facts = replace(facts, warnings=await _warnings(session, facts), last_lines=await _last_lines(session, facts))
    if depth >= MAX_DEPTH:
        return facts
    return replace(facts, children={path_of(child): await read_facts(session, child, depth + 1) for child in children})


async def children_of(session: Session, run: Object) -> list[Object]:
    """StoryRuns that steps of the run started, oldest first: of a loop the last iteration comes last."""
    metadata = run["metadata"]
    selector = f"{keys.LABEL_PARENT_STORY_RUN}={label_value(metadata['name'])}"
    found = (await session.client.list(STORY_RUN, metadata["namespace"], label_selector=selector)).items
    own = [
        each
        for each in found
        if any(owner["uid"] == metadata["uid"] for owner in each["metadata"].get("ownerReferences") or ())
    ]
    return sorted(own, key=lambda each: (each["metadata"]["creationTimestamp"], len(each["metadata"]["name"])))


async def _jobs_of(session: Session, run: Object) -> list[Object]:
    selector = f"{keys.LABEL_STORY_RUN}={label_value(run['metadata']['name'])}"
    return (await session.client.list(JOB, run["metadata"]["namespace"], label_selector=selector)).items


async def _warnings(session: Session, facts: Facts) -> dict[str, str]:
    """About Jobs that have no Pod: why they get none is told nowhere else."""
    if "Pods" in facts.unseen or has_ended(facts.run):
        return {}
    found: dict[str, str] = {}
    for name, job in facts.jobs.items():
        if name not in facts.pods and not (job.get("status") or {}).get("conditions"):
            warning = await _last_warning(session, facts.namespace, name)
            found |= {name: warning} if warning else {}
    return found


async def _last_warning(session: Session, namespace: str, job: str) -> str:
    selector = f"regarding.kind=Job,regarding.name={job},type=Warning"
    try:
        events = (await session.client.list(EVENT, namespace, field_selector=selector)).items
    except ApiError:
        return ""  # it only explains, and not everybody may see it
    newest = max(events, key=lambda event: event["metadata"]["creationTimestamp"], default={})
    return one_line(newest.get("note") or "")


async def _last_lines(session: Session, facts: Facts) -> dict[str, tuple[str, ...]]:
    """Of the step that the run failed with."""
    if not has_ended(facts.run):
        return {}
    culprit = view_run(facts.run, facts.story, facts.step_runs.values()).culprit()
    step_run = facts.step_runs.get(culprit.name) if culprit is not None else None
    pod = facts.pods.get(step_run["metadata"]["name"]) if step_run is not None else None
    if culprit is None or pod is None:
        return {}
    return {culprit.name: tuple(one_line(line) for line in await last_lines_of(session, pod))}
