"""Arguments and options that several verbs take, with their completion."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.complete import (
    complete_decision,
    complete_explained,
    complete_gate,
    complete_input,
    complete_phase,
    complete_run,
    complete_run_and_gate,
    complete_run_and_step,
    complete_step,
    complete_story,
    complete_story_or_run,
)

_RUN_HELP = "name, unique prefix, @latest or @latest:STORY"

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=f"A run: {_RUN_HELP}.", autocompletion=complete_run)]
ExplainedArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN[/STEP]",
        help=f"A run: {_RUN_HELP}; after a slash one of its steps. Or trigger/NAME, a StoryTrigger, or impulse/NAME.",
        autocompletion=complete_explained,
    ),
]
RunAndStepArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN/STEP",
        help=f"A run: {_RUN_HELP}; after the slash one of its steps, fan/left for a branch.",
        autocompletion=complete_run_and_step,
    ),
]
RunOrStepArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN[/STEP]",
        help=f"A run: {_RUN_HELP}; after a slash one of its steps, fan/left for a branch.",
        autocompletion=complete_run_and_step,
    ),
]
RunAndGateArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help=f"A run: {_RUN_HELP}. RUN/GATE names both.", autocompletion=complete_run_and_gate
    ),
]
GateArgument = Annotated[str, typer.Argument(metavar="GATE", help="A gate of the run.", autocompletion=complete_gate)]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN", help=f"Runs: {_RUN_HELP}.", autocompletion=complete_run)
]
StoryArgument = Annotated[str, typer.Argument(metavar="STORY", help="A Story.", autocompletion=complete_story)]
StepArgument = Annotated[
    str, typer.Argument(metavar="STEP", help="A step; default: the whole Story.", autocompletion=complete_step)
]
StepsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="STEP", help="Only these steps.", autocompletion=complete_step)
]
TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORY|RUN", help="A Story, or a run to see its phases.", autocompletion=complete_story_or_run
    ),
]

ManyRunsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="RUN", help=f"Runs: {_RUN_HELP}.", autocompletion=complete_run)
]
SelectorOption = Annotated[str, typer.Option("--selector", "-l", help="Only runs with these labels.")]
PhaseOption = Annotated[
    str, typer.Option("--phase", help="Only runs in this phase, e.g. Failed.", autocompletion=complete_phase)
]
StoryOption = Annotated[str, typer.Option("--story", help="Only runs of this Story.", autocompletion=complete_story)]
SinceOption = Annotated[str, typer.Option("--since", help="Only runs younger than this, e.g. 2h.")]
OlderOption = Annotated[str, typer.Option("--older", help="Only runs older than this, e.g. 24h.")]

FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="STEP",
        help="Start with this step: it and the steps that depend on it run again.",
        autocompletion=complete_step,
    ),
]
TriggerStoryOption = Annotated[
    str, typer.Option("--story", help="Only StoryTriggers of this Story.", autocompletion=complete_story)
]
DecisionOption = Annotated[
    str,
    typer.Option(
        "--decision",
        help="Only StoryTriggers with this decision: Pending, Created, Reused or Rejected.",
        autocompletion=complete_decision,
    ),
]
FilesOrPython = Annotated[
    list[str], typer.Argument(metavar="FILE", help="Manifests, folders or Python files; - reads stdin.")
]
InputPairs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        help="An input, key=value, of the type that the Story declares; key:=value is a string. May be repeated.",
        autocompletion=complete_input,
    ),
]
InputsFile = Annotated[str | None, typer.Option("--inputs", help="JSON file with the inputs object; - reads stdin.")]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", help="Stop waiting after this long, e.g. 5m (exit code 124); the run continues.")
]
ExitOnGate = Annotated[
    bool,
    typer.Option("--exit-on-gate", help="Stop waiting when the run waits at a gate (exit code 6); the run continues."),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache", help="Execute every step, even if its output is in the output cache; new outputs are cached."
    ),
]
ReuseCache = Annotated[
    bool,
    typer.Option(
        "--reuse-cache",
        help="Reuse outputs of steps that succeeded in RUN, if Engram and inputs are equal; needs no output cache.",
    ),
]
CancelOnInterrupt = Annotated[
    bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C cancels the run instead of detaching.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait until the run has ended; exit with the code of its phase.")
]
WatchOption = Annotated[bool, typer.Option("--watch", help="Like --wait, and show progress.")]
LogsOption = Annotated[bool, typer.Option("--logs", help="Like --wait, and print the logs of every step.")]
OperatorNamespace = Annotated[str, typer.Option("--operator-namespace", help="Namespace of the operator.")]
