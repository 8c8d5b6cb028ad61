"""The image map of an embedded cluster: the maps of all its users, merged in its data folder.

First the user's own file, then each map of a command, in order; the last map with an image wins. The folder stores the
list, so that a resumed run finds its programs; a map that changes is read again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import trio

from cli.embedded.filelock import open_lock
from core.telemetry.logs import get_logger
from localcluster.node.images import ImageMapError, Program, default_path, parse_image_map
from localcluster.privatefile import write_private

MAP_FILE: Final = "images.yaml"
SOURCES_FILE: Final = "image-maps.json"
LOCK_FILE: Final = "images.lock"
_LOOK_SECONDS: Final = 0.5

_Seen = list[tuple[str, int, int]]

_log = get_logger("cluster")


def use_image_map(data: Path, brought: Path | None = None) -> Path:
    """Merge the maps of ``data`` and ``brought``; returns the file that the node reads.

    Raises:
        ImageMapError: a map is damaged; the previous result stays.
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
    """Merge them again whenever one has changed; while one is damaged, the previous result stays."""
    before: _Seen | None = None
    while True:
        await trio.sleep(_LOOK_SECONDS)
        now = _seen(data)
        if now != before:
            before = now
            try:
                use_image_map(data)
            except (ImageMapError, OSError) as error:
                _log.warning("an image map is not used", cause=str(error))


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
    """In the file format: variables are replaced by their values, and nothing else may look like a variable."""
    return {
        "command": [_literal(word) for word in program.command],
        "args": [_literal(word) for word in program.args],
        "env": {name: _literal(value) for name, value in program.env.items()},
        "workdir": program.workdir,
        "inherit": [_literal(word) for word in program.inherit],
        "ports": {str(port): name for port, name in program.ports.items()},
    }


def _literal(text: str) -> str:
    return text.replace("$", "$$")


def _write(file: Path, content: object) -> None:
    """Write the file completely or not at all; JSON is also YAML."""
    write_private(file, json.dumps(content, indent=1))
