"""``outputs``: what a run and its steps have made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bubu_contract.references import STORAGE_REFERENCE
from cli.arguments import RunArgument, StepArgument
from cli.completing import is_called
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, UsageError
from cli.render.output import json_text, part_of, yaml_text
from core.api.artifact import artifacts_in
from core.api.gatedata import given_data
from core.api.objects import Object
from core.payloads.errors import PayloadError, StoreUnavailableError
from views.step_layout import path_of

if is_called():
    from cli.artifacts import fetch_artifacts
    from cli.interruption import run_async
    from cli.object_store import find_stores
    from cli.runs import find_run, step_runs_of
    from cli.session import Session, open_session
    from core.expressions.paths import has_reference
    from core.payloads.hydrate import HydrationBounds, hydrate


def register(app: typer.Typer) -> None:
    app.command("outputs")(with_common_options(outputs))


def outputs(
    options: CommonOptions,
    run: RunArgument,
    step: StepArgument = "",
    path: Annotated[str, typer.Option("--path", help="Only this part, e.g. report.rows[0].")] = "",
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="Folder to write output.json, STEP.json for each step, and the files that a step has saved, in STEP/. "
            "If a step is called output, the output of the run is in run.output.json.",
        ),
    ] = None,
    references: Annotated[
        bool, typer.Option("--references", help="Do not fetch data from object storage; show the references.")
    ] = False,
) -> None:
    """Print the output of a run or of one of its steps as JSON; the output of a gate is the data of its approval.

    Data in object storage is fetched.
    """
    if save is not None and path:
        raise UsageError("--save writes whole outputs", remedy="leave out --path")

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            if save is None:
                wanted = {step or RUN: await output_of(session, found, step)}
            else:
                wanted = await outputs_of(session, found, step)
            if not references and may_refer(wanted):
                wanted = await read_stored(session, wanted, found["metadata"]["namespace"])
            if save is None:
                session.console.result(printed(wanted[step or RUN], path, options.output))
                return
            for file in save_outputs(wanted, save):
                session.console.result(str(file))
            if not references and has_files(wanted):
                async with aclosing(fetch_artifacts(session, wanted, found["metadata"]["namespace"], save)) as files:
                    async for file in files:
                        session.console.result(str(file))

    run_async(options, work)


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


_REMEDY: Final = "print the references themselves with --references"


async def read_stored(session: Session, outputs: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """``outputs`` with the data instead of every storage reference. The store is only read if there are references.

    Args:
        outputs: by step, and of the run, with the names of ``cli.outputs``.
        namespace: that of the run; only objects of this namespace are read.
    Raises:
        CommandError: the store, or some objects, cannot be read; the message names each object.
    """
    if not any(has_reference(output) for output in outputs.values()):
        return dict(outputs)
    # Wider than the operator's bounds, because no other user waits here.
    bounds = HydrationBounds(depth=128, object_bytes=64 << 20, total_bytes=256 << 20, references=10_000)
    store = (await find_stores(session, remedy=_REMEDY)).of(namespace)
    whole, problems = {}, []
    for name, output in outputs.items():
        try:
            field = name if name == RUN else f"steps.{name}.output"
            whole[name] = await hydrate(output, store, namespace=namespace, field=field, bounds=bounds)
        except PayloadError as error:
            problems.append(str(error))
        except StoreUnavailableError as error:
            raise CommandError(str(error), remedy=_REMEDY) from error
    if problems:
        raise CommandError("\n".join(problems), remedy=_REMEDY)
    return whole
