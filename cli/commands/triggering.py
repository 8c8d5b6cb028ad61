"""``trigger`` and ``triggers``: request a run as an event source does, and see how such requests were answered."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.arguments import DecisionOption, InputPairs, InputsFile, StoryArgument, TriggerStoryOption
from cli.options import ALL_NAMESPACES, DRY_RUN, QUESTIONS, CommonOptions, with_common_options
from cli.problem import UsageError

AnswerTimeoutOption = Annotated[
    str, typer.Option("--timeout", help="Stop waiting after this long, e.g. 30s (exit code 124); the request stays.")
]


def register(app: typer.Typer) -> None:
    app.command("trigger")(with_common_options(trigger, also=QUESTIONS | DRY_RUN))
    app.command("triggers")(with_common_options(triggers, also=ALL_NAMESPACES))


def trigger(
    options: CommonOptions,
    story: StoryArgument,
    inputs: InputPairs = None,
    inputs_file: InputsFile = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Business key: at most one run for this key; other inputs are a conflict."),
    ] = None,
    submission_id: Annotated[
        str | None,
        typer.Option(
            "--submission-id",
            help="Identity of this request; the same one repeats the request; default: the key, or a random id.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the decision of the operator.")] = True,
    timeout: AnswerTimeoutOption = "",
) -> None:
    """Request a run of a Story by a StoryTrigger; print the run and the decision: Created, Reused or Rejected.

    The operator decides, and this command prints what the decision waits for. Exit code 0: Created; 8: Reused; 7:
    Rejected. With --no-wait the name of the StoryTrigger is printed. The same request again finds the stored decision.
    """
    from cli import triggers as requests
    from cli.durations import seconds_of
    from cli.inputs import parse_inputs

    given = parse_inputs(inputs or (), inputs_file)
    identity = requests.identity_of(key, submission_id)
    seconds = seconds_of("--timeout", timeout)
    if not wait and seconds is not None:
        raise UsageError(
            "--timeout limits the wait, which --no-wait leaves out", remedy="leave out --no-wait or --timeout"
        )
    requests.request_run(options, story, given, identity, wait=wait, timeout=seconds)


def triggers(
    options: CommonOptions,
    story: StoryArgument = "",
    of_story: TriggerStoryOption = "",
    decision: DecisionOption = "",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Only StoryTriggers with these labels.")] = "",
) -> None:
    """List StoryTriggers, newest first: what the operator decided, and the run.

    -o wide adds the key and the message.
    """
    from cli.interruption import run_async
    from cli.session import open_session
    from cli.triggerlist import TriggerSelection, select_triggers, shown
    from core.engine.clock import system_now

    if story and of_story and story != of_story:
        raise UsageError("STORY and --story name different Stories", remedy="leave out one of them")
    selection = TriggerSelection.of_flags(story or of_story, decision, selector)

    async def work() -> None:
        async with open_session(options) as session:
            found = await select_triggers(session, selection)
            if found or options.output not in ("table", "wide"):
                session.console.result(shown(session, found, system_now()))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                what = "no StoryTriggers" if selection.is_everything else "no such StoryTriggers"
                session.console.note(f"{what} in {where}")

    run_async(options, work)
