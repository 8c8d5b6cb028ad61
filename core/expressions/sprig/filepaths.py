"""Paths as strings, by POSIX rules; files are never accessed. Source: templating contract 10.6."""

from __future__ import annotations

import posixpath
from typing import Final

from core.expressions.template.functions import STRING, FunctionTable

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("base", "osBase", takes=(STRING,))
def _base(path: str) -> str:
    if not path:
        return "."
    return posixpath.basename(path.rstrip("/")) or "/"


@FUNCTIONS.add("dir", "osDir", takes=(STRING,))
def _dir(path: str) -> str:
    return _clean(path[: path.rfind("/") + 1])


@FUNCTIONS.add("clean", "osClean", takes=(STRING,))
def _clean(path: str) -> str:
    if not path:
        return "."
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


@FUNCTIONS.add("ext", "osExt", takes=(STRING,))
def _ext(path: str) -> str:
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:] if dot >= 0 else ""


@FUNCTIONS.add("isAbs", "osIsAbs", takes=(STRING,))
def _is_abs(path: str) -> bool:
    return path.startswith("/")
