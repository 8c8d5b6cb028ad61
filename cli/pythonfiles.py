"""Python files with Stories: executed in a child process, which prints the manifests that they describe.

The user's code never runs in this process, and only for a file that the user names on the command line: not for files
in a folder, and not for the completion of words. The child is the Python of this command.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from cli.builtfiles import BuiltDocument, BuiltFile
from cli.problem import CommandError
from core.api.objects import Object
from localcluster.node.images import covers, parse_image_map
from localcluster.privatefile import write_private

PROGRAM: Final = "bubu_sdk.stories"
BUILD_SECONDS: Final = 60.0
"""A file that only describes Stories takes a fraction of a second."""
_MAPS_FOLDER: Final = "python-files"


async def build(files: Iterable[str]) -> list[BuiltFile]:
    """Execute each file, and read what it describes.

    Raises:
        CommandError: a file raises, describes no Story, or takes longer than a minute. The message has the file's own
            words: the place of the mistake, or the trace of its code.
    """
    return [await _build(file) for file in files]


async def _build(file: str) -> BuiltFile:
    if not await trio.Path(file).is_file():
        raise CommandError(f"{file} does not exist", remedy="check the path")
    if importlib.util.find_spec(PROGRAM.partition(".")[0]) is None:
        raise CommandError(
            f"{file}: the Python of this command has no bubu_sdk", remedy=f"{sys.executable} -m pip install bubu-sdk"
        )
    command = [sys.executable, "-m", PROGRAM, file, "--describe"]
    with trio.move_on_after(BUILD_SECONDS) as limit:
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    if limit.cancelled_caught:
        raise CommandError(
            f"{file} was not read within {BUILD_SECONDS:.0f} s", remedy="let it describe Stories, and do nothing else"
        )
    told = (done.stderr or b"").decode(errors="replace").rstrip("\n")
    if done.returncode != 0:
        raise CommandError(f"{file} describes no Story:\n{told}")
    if told:
        sys.stderr.write(f"{told}\n")
    return _read(Path(file), json.loads(done.stdout))


def _read(path: Path, described: Mapping[str, Any]) -> BuiltFile:
    documents = (
        BuiltDocument(each["document"], each["text"], _shown(each["file"], path), each["lines"])
        for each in described["documents"]
    )
    return BuiltFile(path, tuple(documents))


def _shown(file: str, given: Path) -> str:
    """The path as the user wrote it, or from the current folder."""
    if Path(file) == given.resolve():
        return str(given)
    return os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file


def write_image_maps(data: Path, files: Sequence[BuiltFile], chosen: Path | None) -> list[Path]:
    """An image map for each file, in the data folder of a cluster, which reads it again for resumed runs.

    The program of each image is this Python with the file. It sees ``PYTHONPATH`` of this command, and no other of its
    variables. Images that the map ``chosen`` by the user covers are left out, also of the maps of earlier commands:
    an exact name would win over a pattern of the user's.
    """
    folder = data / _MAPS_FOLDER
    if files:
        folder.mkdir(mode=0o700, exist_ok=True)
    written = {_map_file(folder, file.path.resolve()): dict.fromkeys(file.images, _program(file)) for file in files}
    for path, images in written.items():
        write_private(path, json.dumps({"images": images}, indent=1))
    if chosen is not None and folder.is_dir():
        covering = parse_image_map(chosen.read_text(encoding="utf-8"), chosen)
        for path in sorted(folder.glob("*.json")):
            images = json.loads(path.read_text(encoding="utf-8"))["images"]
            kept = {image: program for image, program in images.items() if not covers(covering, image)}
            if kept != images:
                write_private(path, json.dumps({"images": kept}, indent=1))
    return list(written)


def _map_file(folder: Path, python: Path) -> Path:
    return folder / f"{python.stem}-{hashlib.sha256(str(python).encode()).hexdigest()[:12]}.json"


def _program(file: BuiltFile) -> Object:
    path = file.path.resolve()
    known = os.environ.get("PYTHONPATH", "")
    places = os.pathsep.join(str(Path(place).resolve()) for place in known.split(os.pathsep) if place)
    return {
        "command": [_literal(word) for word in (sys.executable, "-m", PROGRAM, str(path))],
        "workdir": str(path.parent),
        **({"env": {"PYTHONPATH": _literal(places)}} if places else {}),
    }


def _literal(text: str) -> str:
    return text.replace("$", "$$")
