"""``explain step``: where the values of a step come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import typer

from cli.arguments import RunAndStepArgument
from cli.completing import is_called
from cli.options import CommonOptions, check_format, with_common_options
from cli.problem import CommandError, UsageError
from cli.render.output import render
from cli.target import embedded_at
from core.api.objects import Object, is_controlled_by
from core.api.resource import CONFIG_MAP, ENGRAM, ENGRAM_TEMPLATE, JOB, Resource
from core.kube.errors import ForbiddenError, NotFoundError
from deployment.permissions.names import CONFIG_NAME
from views.errors import ViewError
from views.explain.document import document_of
from views.explain.facts import StepExplanation, StepFacts
from views.step_layout import RunStep, declared_steps, known_step, path_of

if is_called():
    from cli.embedded.operator_process import OPERATOR_NAMESPACE
    from cli.interruption import run_async
    from cli.render.explained import lines_of
    from cli.runs import find_run, is_name, step_runs_of, story_of
    from cli.session import Session, open_session
    from core.engine.step.manifest import step_run_name
    from views.explain.explanation import explain_step


def register(app: typer.Typer) -> None:
    explain = typer.Typer(help="Explain where values come from.", no_args_is_help=True)
    explain.command("step")(with_common_options(explain_values))
    app.add_typer(explain, name="explain")


def explain_values(options: CommonOptions, step: RunAndStepArgument) -> None:
    """Show each value of a step's Job and the layer that it comes from: operator, template, Engram, Story, step.

    It works before the step has started, while it runs and afterwards. If the Job exists, its values are
    compared: a line shows the difference, and what has changed since. Values that are set but not applied are listed
    as notes. Secrets are shown by name only. -o json gives the same as data.
    """
    check_format("explain step", options.output, ("table", "wide", "json", "jsonl", "yaml"))

    async def work() -> None:
        async with open_session(options) as session:
            explanation = await step_explanation_of(session, step)
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of(explanation)], options.output, single=True))
                return
            wide = options.output == "wide"
            for line, colour in lines_of(explanation, wide=wide, no_headers=options.no_headers):
                session.console.line(line, colour)

    run_async(options, work)


_LIMITS: Final = ("resources.cpuLimit", "resources.memoryLimit")


async def step_explanation_of(session: Session, subject: str) -> StepExplanation:
    """The explanation of ``RUN/STEP``.

    Raises:
        UsageError: no step is named.
        CommandError, ViewError: there is no such run or step, it has no Job, or the Story is gone.
        ForbiddenError: the user may not read the Story, the Engram or its template, without which nothing is known.
    """
    name, _, step = subject.partition("/")
    if not name or not step:
        remedy = "write RUN/STEP; the steps of a run are shown by: bobrapet get RUN"
        raise UsageError(f"{subject!r} does not name a step of a run", remedy=remedy)
    run = await find_run(session, name)
    story = await story_of(session, run)
    if story is None:
        remedy = "list the steps with: bobrapet get RUN"
        raise CommandError(f"the Story of run {run['metadata']['name']} does not exist any more", remedy=remedy)
    explanation = explain_step(await _facts(session, run, story, step))
    limits = [each.setting for each in explanation.values if each.setting in _LIMITS and each.value]
    if limits and (session.embedded or embedded_at(session.config.server, Path(session.config.source))):
        note = f"{' and '.join(limits)} are not enforced by the embedded cluster: a container may use more there"
        explanation = replace(explanation, notes=(*explanation.notes, note))
    return explanation


async def _facts(session: Session, run: Object, story: Object, step: str) -> StepFacts:
    unseen: list[str] = []
    step_runs = await _step_runs(session, run, unseen)
    placed = _placed(run, story, step, step_runs)
    step_run = step_runs.get(placed.name)
    reference = placed.step.get("ref") or {}
    engrams = str(reference.get("namespace") or story["metadata"].get("namespace") or run["metadata"]["namespace"])
    engram = await _found(session, ENGRAM, str(reference.get("name") or ""), engrams)
    described = (((engram or {}).get("spec") or {}).get("templateRef") or {}).get("name") or ""
    template = await _found(session, ENGRAM_TEMPLATE, str(described).strip(), None) if engram is not None else None
    config_map = await _config_map(session, unseen)
    return StepFacts(
        run=run,
        story=story,
        step_name=placed.name,
        step=placed.step,
        engram=engram,
        template=template,
        config=None if config_map is None else config_map.get("data") or {},
        config_map=config_map or None,
        step_run=step_run,
        job=await _job(session, run, placed.name, step_run, unseen),
        unseen=tuple(unseen),
    )


def _placed(run: Object, story: Object, step: str, step_runs: Mapping[str, Object]) -> RunStep:
    """Raises:
    ViewError: the run has no such step, or it is a primitive.
    """
    recorded = [*((run.get("status") or {}).get("stepStates") or {}), *step_runs]
    steps = {placed.name: placed for placed in declared_steps(story, recorded)}
    run_name = run["metadata"]["name"]
    placed = steps[known_step(run_name, list(steps), step)]
    if not placed.step.get("ref"):
        workers = ", ".join(name for name, each in steps.items() if each.step.get("ref"))
        raise ViewError(
            f"step {placed.name!r} of run {run_name} is of type {placed.kind}, which has no Job",
            remedy=f"name a step that uses an Engram: {workers}" if workers else "no step of this run has a Job",
        )
    return placed


async def _step_runs(session: Session, run: Object, unseen: list[str]) -> dict[str, Object]:
    try:
        return {path_of(each): each for each in await step_runs_of(session, run)}
    except ForbiddenError:
        unseen.append("StepRuns")
        return {}


async def _config_map(session: Session, unseen: list[str]) -> dict[str, Any] | None:
    """The operator's ConfigMap; empty if there is none, None if the user may not read it."""
    try:
        return await session.client.get(CONFIG_MAP, CONFIG_NAME, OPERATOR_NAMESPACE)
    except NotFoundError:
        return {}
    except ForbiddenError:
        unseen.append("the operator's ConfigMap")
        return None


async def _job(session: Session, run: Object, step: str, step_run: Object | None, unseen: list[str]) -> Object | None:
    name = step_run["metadata"]["name"] if step_run else step_run_name(run["metadata"]["name"], step)
    if step_run is None and "StepRuns" not in unseen:
        return None
    try:
        job = await session.client.get(JOB, name, run["metadata"]["namespace"])
    except NotFoundError:
        return None
    except ForbiddenError:
        unseen.append("Jobs")
        return None
    return job if step_run is None or is_controlled_by(job, step_run["metadata"]["uid"]) else None


async def _found(session: Session, resource: Resource, name: str, namespace: str | None) -> Object | None:
    if not is_name(name):
        return None
    try:
        return await session.client.get(resource, name, namespace)
    except NotFoundError:
        return None
