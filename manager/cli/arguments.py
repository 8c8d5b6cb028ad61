"""Arguments that several verbs take, with their completion."""

from __future__ import annotations

from typing import Annotated

import typer

from manager.cli.complete import complete_run, complete_step, complete_story, complete_story_or_run

_RUN_HELP = "name, unique prefix, @latest or @latest:STORY"

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=f"A run: {_RUN_HELP}.", autocompletion=complete_run)]
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
