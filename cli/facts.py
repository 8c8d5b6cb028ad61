"""Fetches the known facts of a run and of the runs that its steps started, as far as the user may read them."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import trio

from bubu_contract.identity import label_value
from cli.pod_logs import last_lines_of
from cli.runs import pods_of, step_runs_of, story_of
from cli.session import Session
from cli.streams import bindings_of, has_streams
from cli.target import embedded_at
from core.api import keys
from core.api.objects import Object, has_ended, is_owned_by
from core.api.phases import Phase
from core.api.resource import EFFECT_CLAIM, EVENT, JOB, LEASE, POD, STEP_RUN, STORY_RUN
from core.engine.clock import system_now
from core.kube.errors import ApiError, ForbiddenError, KubeError, NotFoundError
from deployment.permissions.names import HUB_LEASE_NAME, OPERATOR_NAMESPACE
from localcluster.node.settings import PROCESSOR_USE
from views.effects import step_run_name
from views.flow import bindings_by_step
from views.pod_wait import is_silent
from views.run_view import view_run
from views.step_layout import path_of
from views.text import one_line
from views.why.cause import Facts, HubStanding
from views.why.stream import hub_standing, last_failure
from views.why.worker import PoolStanding, current_assignment, is_warm, pool_of, pool_standing

Found = TypeVar("Found")

MAX_DEPTH: Final = 8
"""Levels of child runs that are followed."""
MAX_FAILING: Final = 5
"""Streams whose log is read, because their container fails."""
MAX_CHILDREN: Final = 100
"""Child runs of one run that are read in full; for more, only the StoryRun itself is known."""


async def read_facts(session: Session, run: Object, depth: int = 0) -> Facts:
    """Facts of ``run`` and its child runs. Objects that the user may not read are listed, and missing."""
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
    streams = has_streams(story, step_runs)
    bindings = await tolerant("TransportBindings", bindings_of(session, run, tolerant=False), []) if streams else []
    claims = await tolerant("EffectClaims", _claims_of(session, run, step_runs), [])
    names = {label_value(each["metadata"]["name"]): each["metadata"]["name"] for each in step_runs}
    by_label = {(pod["metadata"].get("labels") or {}).get(keys.LABEL_STEP_RUN, ""): pod for pod in pods}
    facts = Facts(
        run,
        story,
        step_runs={path_of(each): each for each in step_runs},
        jobs={job["metadata"]["name"]: job for job in jobs},
        pods={names[label]: pod for label, pod in by_label.items() if label in names},
        claims=_by_step_run(claims),
        bindings=bindings_by_step(bindings, run["metadata"]["uid"]),
        hub=await _hub(session) if streams and not has_ended(run) else None,
        pools=await tolerant("Pods", _pools_of(session, run, step_runs), {}),
        unseen=tuple(unseen),
    )
    facts = replace(facts, warnings=await _warnings(session, facts), last_lines=await _last_lines(session, facts))
    facts = replace(facts, processor=await _processor_use(session, facts))
    facts = replace(facts, earlier_children=_earlier(children))
    return replace(facts, children=await _into_children(session, children, depth + 1))


def _earlier(children: Sequence[Object]) -> dict[str, tuple[Facts, ...]]:
    """By step: the StoryRuns before the last one."""
    by_step: dict[str, list[Facts]] = {}
    for child in children:
        by_step.setdefault(path_of(child), []).append(Facts(child, None))
    return {step: tuple(made[:-1]) for step, made in by_step.items() if len(made) > 1}


async def _into_children(session: Session, runs: Sequence[Object], depth: int) -> dict[str, Facts]:
    """Facts by step; runs that still run or have failed come first."""
    last = {path_of(run): run for run in runs}
    found = {step: Facts(run, None) for step, run in last.items()}
    if depth > MAX_DEPTH:
        return found
    order = sorted(last, key=lambda step: (last[step].get("status") or {}).get("phase") == Phase.SUCCEEDED)

    async def look(step: str) -> None:
        found[step] = await read_facts(session, last[step], depth)

    async with trio.open_nursery() as nursery:
        for step in order[:MAX_CHILDREN]:
            nursery.start_soon(look, step)
    return found


async def children_of(session: Session, run: Object) -> list[Object]:
    """StoryRuns that steps of the run started, oldest first: for a loop, the last iteration comes last."""
    metadata = run["metadata"]
    selector = f"{keys.LABEL_PARENT_STORY_RUN}={label_value(metadata['name'])}"
    found = (await session.client.list(STORY_RUN, metadata["namespace"], label_selector=selector)).items
    own = [each for each in found if is_owned_by(each, metadata["uid"])]
    return sorted(own, key=lambda each: (each["metadata"]["creationTimestamp"], len(each["metadata"]["name"])))


async def _jobs_of(session: Session, run: Object) -> list[Object]:
    selector = f"{keys.LABEL_STORY_RUN}={label_value(run['metadata']['name'])}"
    return (await session.client.list(JOB, run["metadata"]["namespace"], label_selector=selector)).items


async def _claims_of(session: Session, run: Object, step_runs: Sequence[Object]) -> list[Object]:
    """EffectClaims of steps that have been tried again: before, there is no earlier attempt that could hold one."""
    again = [each for each in step_runs if (each.get("status") or {}).get("retries") and not has_ended(each)]
    if not again or has_ended(run):
        return []
    names = {each["metadata"]["name"] for each in again}
    found = await session.client.list(EFFECT_CLAIM, run["metadata"]["namespace"])
    return [claim for claim in found.items if step_run_name(claim) in names]


async def _pools_of(session: Session, run: Object, step_runs: Sequence[Object]) -> dict[str, PoolStanding]:
    """The pools of warm workers that unfinished steps wait for."""
    waiting = [each for each in step_runs if is_warm(each) and not has_ended(each) and not current_assignment(each)]
    namespace, found = run["metadata"]["namespace"], dict[str, PoolStanding]()
    for pool in {pool_of(each) for each in waiting} - {""} if not has_ended(run) else ():
        selector = f"{keys.LABEL_WORKER_POOL}={pool}"
        pods = (await session.client.list(POD, namespace, label_selector=selector)).items
        steps = (await session.client.list(STEP_RUN, namespace, label_selector=selector)).items
        found[pool] = pool_standing(pool, pods, steps)
    return found


def _by_step_run(claims: Sequence[Object]) -> dict[str, tuple[Object, ...]]:
    found: dict[str, tuple[Object, ...]] = {}
    for claim in claims:
        name = step_run_name(claim)
        found[name] = (*found.get(name, ()), claim)
    return found


async def _warnings(session: Session, facts: Facts) -> dict[str, str]:
    """Warnings about Jobs that have no Pod, and about Pods whose container does not start without a word in their
    status, for example because a ConfigMap is missing: only these say why.
    """
    if "Pods" in facts.unseen or has_ended(facts.run):
        return {}
    found: dict[str, str] = {}
    for name, job in facts.jobs.items():
        pod, warning = facts.pods.get(name), ""
        if pod is None and not (job.get("status") or {}).get("conditions"):
            warning = await _last_warning(session, facts.namespace, JOB.kind, name)
        elif pod is not None and is_silent(pod):
            warning = await _last_warning(session, facts.namespace, POD.kind, pod["metadata"]["name"])
        found |= {name: warning} if warning else {}
    for step, binding in facts.bindings.items():
        name = str(facts.step_runs.get(step, binding)["metadata"]["name"])
        pod = facts.pods.get(name)
        if pod is not None and is_silent(pod):
            warning = await _last_warning(session, facts.namespace, POD.kind, pod["metadata"]["name"])
            found |= {name: warning} if warning else {}
    return found


async def _hub(session: Session) -> HubStanding | None:
    """Whether a hub serves; None if the user may not know."""
    namespace = OPERATOR_NAMESPACE
    if session.embedded is not None:
        who = "the embedded cluster: it restarts its hub within seconds; if it does not, see its log"
        commands: tuple[str, ...] = (shlex.join(["tail", "-n", "50", str(session.embedded.data / "cluster.log")]),)
    else:
        who = "a cluster administrator"
        commands = tuple(
            f"kubectl --namespace {namespace} {verb} deployment/{HUB_LEASE_NAME}" for verb in ("describe", "logs")
        )
    try:
        lease = await session.client.get(LEASE, HUB_LEASE_NAME, namespace)
    except NotFoundError:
        return HubStanding(is_there=False, who=who, commands=commands)
    except KubeError:
        return None  # few users may read it, and it only explains
    return replace(hub_standing(lease, system_now()), who=who, commands=commands)


async def _last_warning(session: Session, namespace: str, kind: str, name: str) -> str:
    selector = f"regarding.kind={kind},regarding.name={name},type=Warning"
    try:
        events = (await session.client.list(EVENT, namespace, field_selector=selector)).items
    except ApiError:
        return ""  # it only explains, and some users may not read it
    newest = max(events, key=lambda event: event["metadata"]["creationTimestamp"], default={})
    return one_line(newest.get("note") or "")


async def _processor_use(session: Session, facts: Facts) -> dict[str, str]:
    """Of steps that timed out on the embedded cluster: their Pods are gone, but an Event says what they had used."""
    ended = [each for each in facts.step_runs.values() if (each.get("status") or {}).get("phase") == Phase.TIMEOUT]
    if not ended or not (session.embedded or embedded_at(session.config.server, Path(session.config.source))):
        return {}
    try:
        selector = f"regarding.kind={POD.kind},reason={PROCESSOR_USE}"
        events = (await session.client.list(EVENT, facts.namespace, field_selector=selector)).items
    except ApiError:
        return {}  # it only explains, and some users may not read it
    names, found = {each["metadata"]["name"] for each in ended}, dict[str, str]()
    for event in sorted(events, key=lambda event: event["metadata"]["creationTimestamp"]):
        job = str((event.get("regarding") or {}).get("name") or "").rpartition("-")[0]  # the name of a Pod has a suffix
        found |= {job: one_line(event.get("note") or "")} if job in names else {}
    return found


def _failing_streams(facts: Facts) -> list[tuple[str, Object]]:
    named = ((step, facts.step_runs.get(step)) for step in facts.bindings)
    pods = ((step, facts.pods.get(each["metadata"]["name"])) for step, each in named if each is not None)
    return [(step, pod) for step, pod in pods if pod is not None and last_failure(pod)]


async def _last_lines(session: Session, facts: Facts) -> dict[str, tuple[str, ...]]:
    """The last log lines of the step that made the run fail, and of streams whose container has failed."""
    if not has_ended(facts.run):
        return {step: tuple(await last_lines_of(session, pod)) for step, pod in _failing_streams(facts)[:MAX_FAILING]}
    culprit = view_run(facts.run, facts.story, facts.step_runs.values()).culprit()
    step_run = facts.step_runs.get(culprit.name) if culprit is not None else None
    pod = facts.pods.get(step_run["metadata"]["name"]) if step_run is not None else None
    if culprit is None or pod is None:
        return {}
    return {culprit.name: tuple(await last_lines_of(session, pod))}
