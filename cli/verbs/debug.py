"""``debug``: one step of a run on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.arguments import RunAndStepArgument
from cli.completing import is_called
from cli.exit_code import ExitCode
from cli.images import ImageMapOption, checked_image_map
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, UsageError
from cli.render.output import yaml_text
from core.api import keys
from core.api.objects import Object
from core.api.phases import Phase
from core.workloads.container_result import (
    LOG_BYTES,
    ResultReading,
    ResultSource,
    UnusableResultError,
    output_of_log,
    output_of_success,
)
from core.workloads.plain_container import INPUTS_VARIABLE
from core.workloads.script import template_of
from views.signals import signals_of
from views.text import one_line

if is_called():
    import trio

    from cli.debugged_step import (
        DebugWish,
        Program,
        completed_claims,
        container_of,
        for_debugger,
        program_of,
        variables_of,
        with_local_storage,
        words_of,
    )
    from cli.interruption import InterruptedBySignalError, run_async
    from cli.render.log_lines import LogForm, lines_of
    from cli.sandbox import Sandbox, open_sandbox
    from cli.session import Session, open_session
    from cli.step_details import FoundStep, find_step


def register(app: typer.Typer) -> None:
    app.command("debug")(with_common_options(debug))


def debug(
    options: CommonOptions,
    step: RunAndStepArgument,
    pdb: Annotated[
        bool, typer.Option("--pdb", help="Stop in Python's debugger at the first line, and at errors.")
    ] = False,
    debugger: Annotated[
        str,
        typer.Option(
            "--debugger",
            help="Another debugger: words after the interpreter, e.g. '-m debugpy --listen 5678 --wait-for-client', or "
            "a program, e.g. 'gdb --args'.",
        ),
    ] = "",
    command: Annotated[
        str,
        typer.Option("--command", help="The program to run, e.g. 'python step.py'; default: that of the image map."),
    ] = "",
    image_map: ImageMapOption = None,
) -> None:
    """Run a step of a run again on this machine, with the inputs, variables and secrets that it had.

    Nothing is reported to the cluster: status, signals, effects and output go to an API server that lives as long as
    the command, and stored data to a folder. Effects that have happened are not repeated. Everything else that the
    step does, such as requests to other services, happens for real. The image map of the embedded cluster names the
    program, or --command; a script runs as it is in the Story. Exit code 0: it succeeded; 3: it failed.
    """
    name, _, wanted = step.partition("/")
    if not name or not wanted:
        remedy = "write RUN/STEP; the steps of a run are shown by: bobrapet get RUN"
        raise UsageError(f"{step!r} does not name a step of a run", remedy=remedy)
    if pdb and debugger:
        raise UsageError("--pdb excludes --debugger", remedy="leave out one of them")
    wish = DebugWish(command, checked_image_map(image_map), pdb, debugger)

    async def work() -> ExitCode:
        async with open_session(options) as session:
            return await debug_step(session, await find_step(session, name, wanted), wish)

    try:
        code = run_async(options, work)
    except InterruptedBySignalError as interruption:
        code = interruption.code
    raise typer.Exit(int(code))


_CHUNK_BYTES: Final = 64 << 10


async def debug_step(session: Session, found: FoundStep, wish: DebugWish) -> ExitCode:
    """Run the step here until it ends; returns the code of how it ended.

    Raises:
        CommandError: it has no program here, or what it needs cannot be read.
    """
    container = container_of(found)
    plain = plain_step(found)
    with tempfile.TemporaryDirectory(prefix="bobrapet-debug-") as temporary:
        folder = Path(temporary)
        variables = await variables_of(session, found, container, folder / "volumes")
        program = program_of(session, container, wish, variables)
        if plain is None:
            code = await _run_with_sdk(session, found, wish, program, variables, folder)
        else:
            code = await _run_plain(session, found, wish, plain, program, variables, folder)
    return ExitCode.DONE if code == 0 else ExitCode.RUN_FAILED


async def _run_with_sdk(
    session: Session, found: FoundStep, wish: DebugWish, program: Program, variables: dict[str, str], folder: Path
) -> int:
    namespace = found.run["metadata"]["namespace"]
    variables = await with_local_storage(session, variables, namespace, folder / "storage")
    claims = await completed_claims(session, found)
    words = words_of(program, wish)
    _refuse_missing(words[0], program.workdir, variables.get("PATH", ""))
    _announce(session, found, words)
    session.console.note(
        "its status, signals, effects and output are not reported to the cluster, and its stored data is a copy; what "
        "it does elsewhere happens for real"
    )
    if claims:
        session.console.note(f"{len(claims)} of its effects have happened already and are not repeated")
    async with open_sandbox(folder, found.stored(""), claims) as sandbox:
        known = {"KUBECONFIG": str(sandbox.kubeconfig), "PYTHONUNBUFFERED": "1"}
        variables = {**program.variables, **for_debugger(variables, wish), **known}
        code, _ = await _run(session, words, program.workdir, variables, is_interactive=wish.stops)
        await _report(session, found, sandbox, code)
    return code


async def _run_plain(
    session: Session,
    found: FoundStep,
    wish: DebugWish,
    step: PlainStep,
    program: Program,
    variables: dict[str, str],
    folder: Path,
) -> int:
    program = in_debugger(program, wish, folder)
    words = words_of(program, wish)
    _refuse_missing(words[0], program.workdir, variables.get("PATH", ""))
    _announce(session, found, words)
    session.console.note("its output is not reported to the cluster; what it does elsewhere happens for real")
    variables = {**program.variables, **with_inputs(step, variables, folder), "PYTHONUNBUFFERED": "1"}
    code, printed = await _run(
        session, words, program.workdir, variables, is_interactive=wish.stops, is_one_stream=True
    )
    session.console.note(f"ended {Phase.SUCCEEDED if code == 0 else Phase.FAILED} with code {code}")
    output = None if wish.stops else output_of(step, code, printed)
    if output is not None:
        session.console.result(yaml_text(output))
    return code


def _announce(session: Session, found: FoundStep, words: list[str]) -> None:
    shown = one_line(" ".join(words))
    session.console.note(f"running {found.detail.run}/{found.name} on this machine: {shown}")


def _refuse_missing(word: str, workdir: str, path: str) -> None:
    """Raises:
    CommandError: there is no such program.
    """
    if shutil.which(str(Path(workdir, word)) if "/" in word else word, path=path) is None:
        raise CommandError(f"{word!r} is not a program of this machine", remedy="name another one with --command")


async def _run(
    session: Session,
    words: list[str],
    workdir: str,
    variables: dict[str, str],
    *,
    is_interactive: bool,
    is_one_stream: bool = False,
) -> tuple[int, str]:
    """The exit code, and what it has printed. A debugger gets the terminal, and then nothing is known of that.

    ``is_one_stream``: standard error counts as printed, too, as in the log of a container.
    """
    form = LogForm.PEOPLE if session.console.reader_is_person else LogForm.RAW
    output = None if is_interactive else subprocess.PIPE
    errors = subprocess.STDOUT if is_one_stream and not is_interactive else None
    printed = ""
    try:
        async with trio.open_nursery() as nursery:
            start = partial(
                trio.run_process,
                words,
                stdin=None,
                stdout=output,
                stderr=errors,
                check=False,
                cwd=workdir,
                env=variables,
            )
            process: trio.Process = await nursery.start(start)
            if process.stdout is not None:
                printed = await _show(session, process.stdout, form)
            code = await process.wait()
    except* OSError as group:
        raise CommandError(
            f"{words[0]!r} cannot be run in {workdir}: {group.exceptions[0]}", remedy="name the program with --command"
        ) from None
    return code, printed


async def _show(session: Session, stream: trio.abc.ReceiveStream, form: LogForm) -> str:
    """Print the lines as they come; returns the end of them, as much as the operator would read."""
    rest, end = b"", b""
    while chunk := await stream.receive_some(_CHUNK_BYTES):
        end = (end + chunk)[-LOG_BYTES:]
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _print(session, line, form)
    if rest:
        _print(session, rest, form)
    return end.decode(errors="replace")


def _print(session: Session, line: bytes, form: LogForm) -> None:
    for text, colour in lines_of(None, line.decode(errors="replace"), None, form):
        session.console.line(text, colour)


async def _report(session: Session, found: FoundStep, sandbox: Sandbox, code: int) -> None:
    status, note = await sandbox.status(), session.console.note
    before = (found.step_run or {}).get("status") or {}
    ended = str(status.get("phase") or "")
    if ended in ("", "Pending"):
        note(f"the program ended with code {code} and reported nothing: it does not use the SDK, or it did not start")
        return
    failure = one_line((status.get("error") or {}).get("message") or "")
    note(f"ended {ended} with code {code}" + (f": {failure}" if failure else ""))
    for word, items in (("signals", _new_signals(status, before)), ("effects", _new_effects(status, before))):
        if items:
            note(f"{word} that were not reported: {'; '.join(items)}")
    if status.get("output") is not None:
        session.console.result(yaml_text(status["output"]))


def _new_signals(status: Object, before: Object) -> list[str]:
    known = max((int(each.get("seq") or 0) for each in before.get("signalEvents") or ()), default=0)
    new = {each["key"] for each in status.get("signalEvents") or () if int(each.get("seq") or 0) > known}
    return [str(signal) for signal in signals_of(status) if signal.key in new]


def _new_effects(status: Object, before: Object) -> list[str]:
    known = {each.get("key") for each in before.get("effects") or ()}
    return [one_line(each.get("key")) for each in status.get("effects") or () if each.get("key") not in known]


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
