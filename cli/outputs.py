"""The outputs of a run and of its steps: one of them for the screen or a pipe, all of them as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cli.problem import CommandError
from cli.render.output import part_of, yaml_text
from cli.runs import step_runs_of
from cli.session import Session
from core.api.gatedata import given_data
from core.api.objects import Object
from core.api.reference_keys import STORAGE_REFERENCE
from views.step_layout import path_of

RUN: Final = "output"
"""What the output of the run itself is called beside those of its steps."""
RUN_BESIDE_NAMESAKE: Final = "run.output"
"""… where a step has that name; no step can have this one."""


async def output_of(session: Session, run: Object, step: str) -> Any:
    """Of ``step``; without one, of the run itself.

    Raises:
        CommandError: there is none, or none yet.
    """
    output = (run.get("status") or {}).get("output")
    if step:
        outputs = await _of_steps(session, run)
        if step not in outputs:
            raise CommandError(f"step {step!r} has not run", remedy=f"steps that have: {_listed(outputs)}")
        output = outputs[step]
    if output is None:
        what = f"step {step!r}" if step else "the run"
        raise CommandError(f"{what} of {run['metadata']['name']} has no output; the run is {_phase(run)}")
    return output


async def outputs_of(session: Session, run: Object, step: str) -> dict[str, Any]:
    """By step: that of ``step``, or those of all steps that have one, and of the run under a name of its own.

    Raises:
        CommandError: there is none.
    """
    if step:
        return {step: await output_of(session, run, step)}
    of_steps = await _of_steps(session, run)
    name = RUN if RUN not in of_steps else RUN_BESIDE_NAMESAKE
    found = {name: (run.get("status") or {}).get("output")} | of_steps
    present = {name: output for name, output in found.items() if output is not None}
    if not present:
        raise CommandError(f"no step of {run['metadata']['name']} has an output; the run is {_phase(run)}")
    return present


def may_refer(outputs: Mapping[str, Any]) -> bool:
    """Whether something in them may lie in object storage: what reads it is loaded for that alone."""
    return STORAGE_REFERENCE in json.dumps(outputs)


def save_outputs(outputs: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Each into the file of its name; each file as it has been written.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, output in outputs.items():
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)  # a branch is kept below its step
        file.write_text(json.dumps(output, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        yield file


def printed(output: Any, path: str, form: str) -> str:
    """``output`` or the part of it at ``path``, as ``-o`` says.

    Raises:
        CommandError: there is no such part.
    """
    if path:
        part = part_of(output, path)
        if part is None:
            keys = f"it has: {', '.join(output)}" if isinstance(output, dict) and output else ""
            raise CommandError(f"the output has no value at {path!r}", remedy=keys)
        return part
    return yaml_text(output) if form == "yaml" else json.dumps(output, indent=2, ensure_ascii=False)


async def _of_steps(session: Session, run: Object) -> dict[str, Any]:
    """By step: what its StepRun says, None if nothing yet; of an approved gate, what was given with the approval."""
    found = {path_of(made): (made.get("status") or {}).get("output") for made in await step_runs_of(session, run)}
    gates = (run.get("status") or {}).get("gates") or {}
    approved = {name: decision for name, decision in gates.items() if decision.get("state") == "Approved"}
    return found | {name: given_data(decision) for name, decision in approved.items()}


def _listed(outputs: Mapping[str, Any]) -> str:
    return ", ".join(sorted(outputs)) or "none yet"


def _phase(run: Object) -> str:
    return str((run.get("status") or {}).get("phase") or "Pending")
