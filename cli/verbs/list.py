"""``list``: the runs of a namespace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import typer

from cli.arguments import OlderOption, PhaseOption, SelectorOption, SinceOption, StoryArgument, StoryOption
from cli.completing import is_called
from cli.options import ALL_NAMESPACES, CommonOptions, TimeStyle, with_common_options
from cli.problem import UsageError
from cli.render.output import render
from cli.render.table import table
from cli.render.time import age, short_duration
from core.api.objects import Object, owners_of
from core.api.pinned_story import TooDeepError, kept_story, revision_name
from core.api.resource import STEP_RUN, STORY
from core.kube.errors import ForbiddenError

if is_called():
    import trio

    from cli.interruption import run_async
    from cli.runs import pinned_story_of, story_place
    from cli.selection import RunSelection, select_runs
    from cli.session import Session, open_session
    from core.engine.clock import system_now
    from views.run_view import RunView, view_run


def register(app: typer.Typer) -> None:
    app.command("list")(with_common_options(list_runs, also=ALL_NAMESPACES))


def list_runs(
    options: CommonOptions,
    story: StoryArgument = "",
    of_story: StoryOption = "",
    selector: SelectorOption = "",
    phase: PhaseOption = "",
    since: SinceOption = "",
    older: OlderOption = "",
) -> None:
    """List runs, newest first."""
    if story and of_story and story != of_story:
        raise UsageError("STORY and --story name different Stories", remedy="leave out one of them")
    selection = RunSelection.of_flags(story or of_story, phase, selector, since, older)

    async def work() -> None:
        async with open_session(options) as session:
            runs = await select_runs(session, selection, system_now())
            if options.output not in ("table", "wide"):
                session.console.result(render(runs, options.output, single=False))
            elif runs:
                session.console.result(await _table_of(session, runs))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                session.console.note(f"no runs in {where}" if selection.is_everything else f"no such runs in {where}")

    run_async(options, work)


async def _table_of(session: Session, runs: Sequence[Object]) -> str:
    options, namespace = session.options, session.list_namespace
    stories = await stories_of(session, runs)
    steps: dict[str, list[Object]] = {}
    for step_run in (await session.client.list(STEP_RUN, namespace)).items:
        for owner in owners_of(step_run):
            steps.setdefault(owner["uid"], []).append(step_run)
    now = system_now()
    rows = []
    for run in runs:
        uid = run["metadata"]["uid"]
        rows.append(_row(options, view_run(run, stories.get(uid), steps.get(uid, ()), command=session.command), now))
    headers = ["NAME", "STORY", "PHASE", "STEPS", "WAITING-ON", "AGE", "DURATION"]
    headers = (["NAMESPACE"] if options.all_namespaces else []) + headers
    headers += ["MESSAGE"] if options.output == "wide" else []
    return table(headers, rows, no_headers=options.no_headers)


def _row(options: CommonOptions, view: RunView, now: datetime) -> list[str]:
    row = [view.namespace] if options.all_namespaces else []
    row += [
        view.name,
        view.story,
        view.word,
        view.progress(),
        view.waiting_on(),
        age(view.created_at, now, iso=options.time_style is TimeStyle.ISO),
        short_duration(view.duration(now)),
    ]
    return row + ([view.waits() or view.message] if options.output == "wide" else [])


async def stories_of(session: Session, runs: Sequence[Object]) -> dict[str, Object]:
    """By uid of the run: its Story as it was when the run began, otherwise as it is now; without those that are gone.

    Only a Story that was edited since costs a request, and only one for all runs that execute the same version.
    """
    now = {_place_of(story): story for story in await _stories_now(session, runs)}
    present = {place: _revision_of(story) for place, story in now.items()}
    others = {
        (story_place(run)[0], _pinned(run)): run
        for run in runs
        if _pinned(run) and _pinned(run) != present.get(story_place(run))
    }
    earlier: dict[tuple[str, str], Object | None] = {}

    async def read(revision: tuple[str, str], run: Object) -> None:
        earlier[revision] = await pinned_story_of(session, run)

    async with trio.open_nursery() as nursery:
        for revision, run in others.items():
            nursery.start_soon(read, revision, run)
    found = {}
    for run in runs:
        place = story_place(run)
        story = earlier.get((place[0], _pinned(run))) or now.get(place)
        if story is not None:
            found[str(run["metadata"]["uid"])] = story
    return found


async def _stories_now(session: Session, runs: Sequence[Object]) -> list[Object]:
    found: list[Object] = []
    elsewhere = {story_place(run)[0] for run in runs} - {session.list_namespace}
    for namespace in [session.list_namespace, *(sorted(elsewhere) if session.list_namespace is not None else ())]:
        try:
            found += (await session.client.list(STORY, namespace)).items
        except ForbiddenError:
            if namespace == session.list_namespace:
                raise
    return found


def _place_of(story: Object) -> tuple[str, str]:
    return story["metadata"]["namespace"], story["metadata"]["name"]


def _revision_of(story: Object) -> str:
    try:
        return revision_name(kept_story(story))
    except TooDeepError:
        return ""


def _pinned(run: Object) -> str:
    return str((run.get("status") or {}).get("storyRevision") or "")
