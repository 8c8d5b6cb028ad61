"""The image map of an embedded cluster: the maps of all who use it, put together in its data folder.

First the user's own file, then each map that a command brought, in that order; the last to name an image wins. The
folder remembers them, so that a run that is taken up again finds its programs; a map that changes is read again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import trio

from core.telemetry.logs import get_logger
from embedded.filelock import open_lock
from localcluster.node.images import ImageMapError, Program, default_path, parse_image_map
from localcluster.privatefile import write_private

MAP_FILE: Final = "images.yaml"
SOURCES_FILE: Final = "image-maps.json"
LOCK_FILE: Final = "images.lock"
_LOOK_SECONDS: Final = 0.5

_Seen = list[tuple[str, int, int]]

_log = get_logger("cluster")


def use_image_map(data: Path, brought: Path | None = None) -> Path:
    """Put the map of ``data`` together, with the one that is brought; gives the file that the node reads.

    Raises:
        ImageMapError: a map is damaged; what was put together before stays.
        OSError: the folder cannot be written.
    """
    with open_lock(data / LOCK_FILE) as lock:
        lock.wait_exclusive()
        sources = _sources(data)
        if brought is not None:
            sources = [source for source in sources if source != brought] + [brought]
        programs: dict[str, Program] = {}
        for source in (default_path(os.environ), *sources):
            if source.is_file():
                programs |= parse_image_map(source.read_text(encoding="utf-8"), source)
        _write(data / SOURCES_FILE, [str(source) for source in sources])
        _write(data / MAP_FILE, {"images": {pattern: _entry(program) for pattern, program in programs.items()}})
    return data / MAP_FILE


async def keep_image_map(data: Path) -> None:
    """Put it together again whenever a part of it has changed; a damaged one changes nothing until it is mended."""
    before: _Seen | None = None
    while True:
        await trio.sleep(_LOOK_SECONDS)
        now = _seen(data)
        if now != before:
            before = now
            try:
                use_image_map(data)
            except (ImageMapError, OSError) as error:
                _log.warning("an image map is not in force", cause=str(error))


def _sources(data: Path) -> list[Path]:
    try:
        return [Path(source) for source in json.loads((data / SOURCES_FILE).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def _seen(data: Path) -> _Seen:
    seen: _Seen = []
    for source in (default_path(os.environ), *_sources(data)):
        try:
            state = source.stat()
        except OSError:
            continue
        seen.append((str(source), state.st_mtime_ns, state.st_size))
    return seen


def _entry(program: Program) -> dict[str, object]:
    """As the file format has it: what was a variable there has its value, and nothing else may be taken for one."""
    return {
        "command": [_literal(word) for word in program.command],
        "args": [_literal(word) for word in program.args],
        "env": {name: _literal(value) for name, value in program.env.items()},
        "workdir": program.workdir,
        "inherit": [_literal(word) for word in program.inherit],
    }


def _literal(text: str) -> str:
    return text.replace("$", "$$")


def _write(file: Path, content: object) -> None:
    """Whole or not at all; JSON is YAML, too."""
    write_private(file, json.dumps(content, indent=1))
