"""``init``: a small project to begin with."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from cli.options import CLUSTER, DRY_RUN, CommonOptions, DryRun, with_common_options
from cli.problem import UsageError


def register(app: typer.Typer) -> None:
    app.command("init")(with_common_options(init, also=DRY_RUN, without=CLUSTER))


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

    if options.output not in ("table", "name"):
        raise UsageError(f"init has no output format {options.output!r}", remedy="leave -o out")
    if options.dry_run is DryRun.SERVER:
        raise UsageError("init asks no server", remedy="use --dry-run=client")
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
