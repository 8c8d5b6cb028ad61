"""A step without an SDK that runs here: a script of a Story, or an image as it is. What it gets, and what it leaves.

It reads its inputs from a file and reports nothing; the operator reads its output from the log. So it needs no API
server and no object store here. Source: StepRun contract 25 and 26.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cli.debugged_step import DebugWish, Program
from cli.problem import CommandError
from cli.step_details import FoundStep
from core.api import keys
from core.workloads.container_result import (
    ResultReading,
    ResultSource,
    UnusableResultError,
    output_of_log,
    output_of_success,
)
from core.workloads.plain_container import INPUTS_VARIABLE
from core.workloads.script import template_of

_PYTHON: Final = ("python3", "-c")
_INPUTS_FILE: Final = "inputs.json"
_SCRIPT_FILE: Final = "script.py"


@dataclass(frozen=True, slots=True)
class PlainStep:
    """``reading``: where its output is. ``inputs``: the content of its file; None: it gets no file."""

    reading: ResultReading
    inputs: str | None


def plain_step(found: FoundStep) -> PlainStep | None:
    """What is known of a step without an SDK; None: its program uses the SDK, or the Job of its image is gone.

    Raises:
        CommandError: the Job has an annotation that this version cannot read.
    """
    assert found.step_run is not None, "checked before"
    spec = found.step_run["spec"]
    annotations = (found.job["metadata"].get("annotations") or {}) if found.job is not None else {}
    written = annotations.get(keys.ANNOTATION_RESULT)
    if written is not None:
        try:
            reading = ResultReading.decoded(str(written))
        except ValueError as error:
            raise CommandError(f"annotation {keys.ANNOTATION_RESULT} of the Job cannot be read: {error}") from error
    elif spec.get("script"):
        reading = ResultReading.of(template_of(spec["script"], "")["spec"]["container"])
    else:
        return None
    if found.job is None:
        return PlainStep(reading, json.dumps(spec.get("input") or {}))
    pod = found.job["spec"]["template"].get("metadata") or {}
    return PlainStep(reading, (pod.get("annotations") or {}).get(keys.ANNOTATION_INPUTS))


def with_inputs(step: PlainStep, variables: dict[str, str], folder: Path) -> dict[str, str]:
    """The variables with the path of the file of inputs, which is written into ``folder``."""
    if step.inputs is None:
        return variables
    path = folder / _INPUTS_FILE
    path.write_text(step.inputs)
    return {**variables, INPUTS_VARIABLE: str(path)}


def in_debugger(program: Program, wish: DebugWish, folder: Path) -> Program:
    """The program; with ``--pdb`` a Python script as a file that ``pdb`` runs.

    Raises:
        CommandError: ``--pdb`` is wanted for another program than a Python script.
    """
    if not wish.pdb:
        return program
    if program.words[:2] != _PYTHON or len(program.words) != len(_PYTHON) + 1:
        raise CommandError(
            "--pdb needs a Python script, or a program with the SDK",
            remedy="name a debugger: --debugger, for example --debugger=-x for a shell script",
        )
    path = folder / _SCRIPT_FILE
    path.write_text(program.words[2])
    return replace(program, words=(program.words[0], "-m", "pdb", str(path)))


def output_of(step: PlainStep, code: int, printed: str) -> Any:
    """The output of the step, as the operator reads it; None: it has none, or it is in a file of the container.

    Raises:
        CommandError: the output is not of the form that the template declares.
    """
    if code != 0:
        return None
    if step.reading.source is ResultSource.EXIT_CODE:
        return output_of_success()
    if step.reading.source is not ResultSource.STDOUT:
        return None
    try:
        return output_of_log(step.reading, printed, is_whole=True)
    except UnusableResultError as error:
        raise CommandError(f"the step has no output: {error}") from error
