"""``init`` and ``unpack``: a small project, the examples and the manifests, to begin with."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from cli.options import CLUSTER, DRY_RUN, CommonOptions, DryRun, with_common_options
from cli.problem import UsageError
from cli.unpacking import Part


def register(app: typer.Typer) -> None:
    app.command("init")(with_common_options(init, also=DRY_RUN, without=CLUSTER))
    app.command("unpack")(with_common_options(unpack, also=DRY_RUN, without=CLUSTER))


def init(
    options: CommonOptions,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write it; the Story gets its name.", show_default=False)
    ] = Path(),
) -> None:
    """Write a small project: a Story, an Engram in Python with a test, an image map, and a README with the commands.

    Without DIR it is written into the current folder. A file that exists is never overwritten: then nothing is written,
    and the command names each. --dry-run=client prints the files.
    """
    from cli.console import Console
    from cli.project import check_free, files_of, name_of, write

    _check(options, "init")
    console, name = Console(options), name_of(folder)
    files = files_of(name)
    if options.dry_run is DryRun.CLIENT:
        check_free(folder, files)
        console.result("\n".join(f"==> {folder / file} <==\n{text}" for file, text in files.items()).rstrip("\n"))
        return
    write(folder, files)
    console.result("\n".join(str(folder / file) for file in files))
    story, images = (quote(str(folder / file)) for file in ("story.yaml", "images.yaml"))
    console.note(f'run it with: bobrapet run {story} --image-map {images} -i text="to be or not to be"')


def unpack(
    options: CommonOptions,
    part: Annotated[Part, typer.Argument(metavar="examples|manifests", help="What to copy.", show_default=False)],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Where to; default: ./examples or ./manifests.", show_default=False),
    ] = None,
) -> None:
    """Copy the examples, or the manifests of an installation in a cluster, out of this installation.

    Without DIR they are copied into ./examples or ./manifests, as the documents name them. A file that exists is never
    overwritten: then nothing is copied, and the command names each. --dry-run=client only names the files.
    """
    from cli.console import Console
    from cli.project import check_free, write
    from cli.unpacking import files_of

    _check(options, "unpack")
    console, target, files = Console(options), folder or Path(part.value), files_of(part)
    check_free(target, files)
    if options.dry_run is not DryRun.CLIENT:
        write(target, files)
    console.result("\n".join(str(target / file) for file in files))
    if options.dry_run is not DryRun.CLIENT:
        console.note(_next_command(part, target))


def _next_command(part: Part, target: Path) -> str:
    if part is Part.MANIFESTS:
        return f"install with: kubectl apply --server-side -k {quote(str(target / 'default'))}"
    from importlib.util import find_spec

    manifests, images = (quote(str(target / "weather" / file)) for file in ("manifests.yaml", "images.yaml"))
    data, report = (quote(str(path.absolute())) for path in (target / "weather" / "data", Path("report")))
    command = f"run one with: bobrapet run {manifests} --image-map {images} -i data={data} -i report={report}"
    if find_spec("matplotlib") is None:
        command = f"the example draws with matplotlib, which is missing; install bobrapet[examples] for it\n{command}"
    return command


def _check(options: CommonOptions, verb: str) -> None:
    if options.output not in ("table", "name"):
        raise UsageError(f"{verb} has no output format {options.output!r}", remedy="leave -o out")
    if options.dry_run is DryRun.SERVER:
        raise UsageError(f"{verb} asks no server", remedy="use --dry-run=client")
