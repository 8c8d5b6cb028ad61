"""The outputs of a run and of its steps: print one of them, or save all of them as files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bubu_contract.references import STORAGE_REFERENCE
from cli.problem import CommandError
from cli.render.output import json_text, part_of, yaml_text
from cli.runs import step_runs_of
from cli.session import Session
from core.api.artifact import artifacts_in
from core.api.gatedata import given_data
from core.api.objects import Object
from views.step_layout import path_of

RUN: Final = "output"
"""Name of the run's own output next to those of its steps."""
RUN_BESIDE_NAMESAKE: Final = "run.output"
"""The name if a step is called ``output``; no step can have this one."""


async def output_of(session: Session, run: Object, step: str) -> Any:
    """The output of ``step``; if empty, that of the run itself.

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
    """Outputs by step: that of ``step``; if empty, those of all steps and, under a name of its own, that of the run.

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
    """Whether a part of them may be in object storage; only then is the module that reads it loaded."""
    return STORAGE_REFERENCE in json.dumps(outputs)


def has_files(outputs: Mapping[str, Any]) -> bool:
    """Whether steps have saved files; only then is the module that fetches them loaded."""
    return any(True for output in outputs.values() for _ in artifacts_in(output))


def save_outputs(outputs: Mapping[str, Any], folder: Path) -> Iterator[Path]:
    """Write each output into a file with its name; yields each file after it was written.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, output in outputs.items():
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)  # a branch has a folder of its step
        file.write_text(json.dumps(output, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        yield file


def printed(output: Any, path: str, form: str) -> str:
    """``output``, or its part at ``path``, in the format of ``-o``.

    Raises:
        CommandError: there is no such part.
    """
    if path:
        part = part_of(output, path)
        if part is None:
            keys = f"it has: {', '.join(output)}" if isinstance(output, dict) and output else ""
            raise CommandError(f"the output has no value at {path!r}", remedy=keys)
        return part
    return yaml_text(output) if form == "yaml" else json_text(output, indent=2)


async def _of_steps(session: Session, run: Object) -> dict[str, Any]:
    """By step: the output in its StepRun, None if there is none yet; for an approved gate, the data of the approval."""
    found = {path_of(made): (made.get("status") or {}).get("output") for made in await step_runs_of(session, run)}
    gates = (run.get("status") or {}).get("gates") or {}
    approved = {name: decision for name, decision in gates.items() if decision.get("state") == "Approved"}
    return found | {name: given_data(decision) for name, decision in approved.items()}


def _listed(outputs: Mapping[str, Any]) -> str:
    return ", ".join(sorted(outputs)) or "none yet"


def _phase(run: Object) -> str:
    return str((run.get("status") or {}).get("phase") or "Pending")
