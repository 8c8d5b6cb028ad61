"""``unpack``: the examples, or the manifests of an installation."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

import typer

from bobrapet.launch import ROOT
from cli.completing import is_called
from cli.console import Console
from cli.options import CLUSTER, DRY_RUN, CommonOptions, DryRun, with_common_options
from cli.problem import CommandError
from cli.verbs.init import check_free, write

if is_called():
    from cli.verbs.init import check_options


def register(app: typer.Typer) -> None:
    app.command("unpack")(with_common_options(unpack, also=DRY_RUN, without=CLUSTER))


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
    check_options(options, "unpack")
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

    manifests, images = (quote(str(target / "weather" / file)) for file in ("manifests.yaml", "images.yaml"))
    data, report = (quote(str(path.absolute())) for path in (target / "weather" / "data", Path("report")))
    command = f"run one with: bobrapet run {manifests} --image-map {images} -i data={data} -i report={report}"
    if find_spec("matplotlib") is None:
        command = f"the example draws with matplotlib, which is missing; install bobrapet[examples] for it\n{command}"
    return command


class Part(StrEnum):
    """A folder of the distribution that is made for users."""

    EXAMPLES = "examples"
    MANIFESTS = "manifests"


_NOT_COPIED: Final = frozenset({"__init__.py", "run.py"})
"""They start an example from a checkout, with modules of ours."""


def files_of(part: Part, root: Path = ROOT) -> dict[str, str]:
    """Relative path → text of each file, in order.

    Raises:
        CommandError: this installation has no such folder.
    """
    folder = root / part
    if not folder.is_dir():
        raise CommandError(f"this installation has no {part}", remedy="install the wheel of bobrapet as it is")
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = [path for path in found if path.name not in _NOT_COPIED and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in chosen}
