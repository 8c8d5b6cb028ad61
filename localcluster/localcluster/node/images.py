"""The image map: which program of this machine runs for an image name.

The file is YAML, by default ``~/.config/bobrapet/images.yaml`` (``$XDG_CONFIG_HOME`` is honoured)::

    images:
      "ghcr.io/acme/summarize:*":             # an image name, or a glob
        command: [python3, -m, acme.summarize]  # what ENTRYPOINT is to an image
        args: [--fast]                          # what CMD is to an image
        env: {MODEL: small}                     # what ENV is to an image
        workdir: ./engrams                      # what WORKDIR is to an image; default: the directory of this file
        inherit: [OPENAI_API_KEY]               # variables of the node's own environment that the program may see
        ports: {8080: SUMMARIZE_PORT}           # ports that it listens on, and variables that tell it to use others

``command`` and ``args`` combine with those of the container exactly as an image's ENTRYPOINT and CMD do: a container's
``command`` replaces both, its ``args`` replace ``args`` only. ``$(PYTHON)`` in command and args is the interpreter of
the node, ``$(MAP_DIR)`` the directory of the file. A first word that begins with ``./`` is relative to that directory.

A pattern is compared with the image name as written, with the name without ``docker.io/`` and ``library/``, and with
each of these without digest and tag. An exact pattern wins over a glob, a longer glob over a shorter one, the file over
the built-in entries: busybox, alpine, debian, ubuntu, python and pause. The file is read again when it changes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from localcluster.node.expansion import expand

Object = dict[str, Any]

_GLOB_LETTERS = frozenset("*?[")
_FIELDS = frozenset({"command", "args", "env", "workdir", "inherit", "ports"})


class ImageMapError(Exception):
    """The image map cannot be read; the text names file, entry and field."""


class UnknownImageError(Exception):
    """The image map has no entry for the image; the text says where to add one."""


@dataclass(frozen=True, slots=True)
class Program:
    """The program that runs for an image."""

    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    inherit: tuple[str, ...] = ()
    ports: Mapping[int, str] = field(default_factory=dict)
    """Ports that it listens on, each with the variable that says which one it is to use instead."""

    def argv(self, container: Object, variables: Mapping[str, str]) -> tuple[str, ...]:
        """The words to execute for ``container``, combined as Kubernetes does; its own words are expanded.

        Empty when neither image nor container names a program.
        """
        command, args = container.get("command") or [], container.get("args") or []
        given = tuple(expand(str(word), variables) for word in [*command, *args])
        if command:
            return given
        return self.command + (given or self.args)


def default_path(environ: Mapping[str, str]) -> Path:
    """The path of the image map when no other one is given."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "bobrapet" / "images.yaml"


class ImageMap:
    """The entries of one file, and the built-in ones."""

    def __init__(self, path: Path) -> None:
        """If ``path`` does not exist, only the built-in entries are used."""
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._entries: dict[str, Program] = {}

    def find(self, image: str) -> Program:
        """The program for ``image``.

        Raises:
            UnknownImageError: the map has no entry for it.
            ImageMapError: the file cannot be read.
        """
        self._refresh()
        names = list(_spellings(image))
        for entries in (self._entries, _BUILT_IN):
            matching = [pattern for pattern in entries if any(_matches(name, pattern) for name in names)]
            if matching:
                return entries[max(matching, key=_precision)]
        raise UnknownImageError(f'image "{image}": the image map has no program for it; add an entry to {self._path}')

    def _refresh(self) -> None:
        try:
            state = self._path.stat()
        except OSError:
            self._seen, self._entries = None, {}
            return
        if self._seen != (state.st_mtime_ns, state.st_size):
            self._entries = parse_image_map(self._path.read_text(), self._path)
            self._seen = (state.st_mtime_ns, state.st_size)


def parse_image_map(text: str, path: Path) -> dict[str, Program]:
    """Patterns and their programs. Relative words are relative to the folder of ``path``; errors name ``path``.

    Raises:
        ImageMapError: not YAML, or not of the documented shape.
    """
    document = _document(text, path)
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, dict):
        raise ImageMapError(f"{path}: images: missing; write a mapping from image names to programs")
    return {str(pattern): _program(pattern, entry, path) for pattern, entry in images.items()}


def covers(entries: Mapping[str, Program], image: str) -> bool:
    """Whether one of the entries is for the image."""
    return any(_matches(name, pattern) for name in _spellings(image) for pattern in entries)


def _document(text: str, path: Path) -> Any:
    if text.startswith("{"):
        with suppress(json.JSONDecodeError):  # it may still be YAML
            return json.loads(text)
    from ruamel.yaml import YAML  # slow to import; maps that programs write are JSON and do not need it
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text) or {}
    except YAMLError as error:
        raise ImageMapError(f"{path}: not YAML: {error}") from error


def _program(pattern: object, entry: object, path: Path) -> Program:
    where = f"{path}: images[{pattern}]"
    if not isinstance(entry, dict):
        raise ImageMapError(f"{where}: must be a mapping with command, args, env, workdir, inherit or ports")
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise ImageMapError(f"{where}.{unknown[0]}: unknown field; known are {', '.join(sorted(_FIELDS))}")
    words = {"PYTHON": sys.executable, "MAP_DIR": str(path.parent)}

    def listed(name: str) -> list[str]:
        value = entry.get(name) or []
        if not isinstance(value, list):
            raise ImageMapError(f"{where}.{name}: must be a list of strings")
        return [expand(str(word), words) for word in value]

    command, env = listed("command"), entry.get("env") or {}
    if not isinstance(env, dict):
        raise ImageMapError(f"{where}.env: must be a mapping from names to values")
    ports = entry.get("ports") or {}
    if not isinstance(ports, dict) or not all(str(port).isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise ImageMapError(f"{where}.ports: must be a mapping from ports to names of variables")
    if command and command[0].startswith("./"):
        command[0] = str(path.parent / command[0])
    return Program(
        command=tuple(command),
        args=tuple(listed("args")),
        env={str(name): expand(str(value), words) for name, value in env.items()},
        workdir=str(path.parent / str(entry.get("workdir") or ".")),
        inherit=tuple(listed("inherit")),
        ports={int(port): str(name) for port, name in ports.items()},
    )


def _spellings(image: str) -> Iterator[str]:
    bare = image.removeprefix("docker.io/").removeprefix("library/")
    for name in dict.fromkeys((image, bare)):
        without_digest = name.partition("@")[0]
        head, slash, tail = without_digest.rpartition("/")
        yield from dict.fromkeys((name, without_digest, head + slash + tail.partition(":")[0]))


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or (not _GLOB_LETTERS.isdisjoint(pattern) and fnmatchcase(name, pattern))


def _precision(pattern: str) -> tuple[bool, int]:
    return _GLOB_LETTERS.isdisjoint(pattern), len(pattern)


_BUILT_IN = {
    "busybox": Program(args=("sh",)),
    "alpine": Program(args=("sh",)),
    "debian": Program(args=("bash",)),
    "ubuntu": Program(args=("bash",)),
    "python": Program(args=(sys.executable,)),
    "registry.k8s.io/pause": Program(command=("sleep", "infinity")),
}


def inherited(program: Program) -> dict[str, str]:
    """The variables of the node's own environment that ``program`` may see, if they are set."""
    return {name: os.environ[name] for name in program.inherit if name in os.environ}
