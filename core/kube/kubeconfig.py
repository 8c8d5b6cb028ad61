"""Kubeconfig files as kubectl reads them: merged, one context chosen, paths made absolute, every error named.

Read here and not with the ``kubernetes`` package: its loaders take half a second to import and turn a failing
credential plugin into silent anonymous access. Plugins and auth providers, the hard part, still come from that package.
Blocking: call it in a thread. Source: kubectl's rules for ``--kubeconfig`` and ``$KUBECONFIG``.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from core.kube.errors import ConfigError


@dataclass(frozen=True, slots=True)
class NamedEntry:
    """One named cluster, user or context, and the file that contains it."""

    value: Mapping[str, Any]
    path: Path


@dataclass(slots=True)
class Kubeconfig:
    """All files merged: the first file that has a name wins."""

    paths: list[Path] = field(default_factory=list)
    clusters: dict[str, NamedEntry] = field(default_factory=dict)
    users: dict[str, NamedEntry] = field(default_factory=dict)
    contexts: dict[str, NamedEntry] = field(default_factory=dict)
    current_context: str = ""


@dataclass(frozen=True, slots=True)
class ContextSelection:
    """One context with the entries that it refers to."""

    context: str
    namespace: str
    cluster: NamedEntry
    user: NamedEntry


def read_kubeconfig(paths: Sequence[Path]) -> Kubeconfig:
    """The files merged; a missing file is skipped, unless all are missing.

    Raises:
        ConfigError: no file exists, or one cannot be read or parsed.
    """
    merged = Kubeconfig()
    for path in paths:
        if path.exists():
            _merge(merged, path, _parse(path))
    if not merged.paths:
        listed = ", ".join(map(str, paths)) or "nothing"
        raise ConfigError(f"no kubeconfig found (searched: {listed}); give --kubeconfig or set KUBECONFIG")
    return merged


def select_context(kubeconfig: Kubeconfig, name: str | None) -> ContextSelection:
    """The context ``name``, or the current one.

    Raises:
        ConfigError: there is no such context, cluster or user; the message lists those that exist.
    """
    where = ", ".join(map(str, kubeconfig.paths))
    known = ", ".join(sorted(kubeconfig.contexts)) or "none"
    name = name or kubeconfig.current_context
    if not name:
        raise ConfigError(f"{where} sets no current-context; choose one with --context (known: {known})")
    context = kubeconfig.contexts.get(name)
    if context is None:
        raise ConfigError(f"context {name!r} is not in {where} (known: {known})")
    cluster_name, user_name = str(context.value.get("cluster") or ""), str(context.value.get("user") or "")
    cluster = kubeconfig.clusters.get(cluster_name)
    if cluster is None:
        raise ConfigError(f"context {name!r} names cluster {cluster_name!r}, which is not in {where}")
    user = kubeconfig.users.get(user_name) if user_name else NamedEntry({}, context.path)
    if user is None:
        raise ConfigError(f"context {name!r} names user {user_name!r}, which is not in {where}")
    return ContextSelection(name, str(context.value.get("namespace") or "default"), cluster, user)


def data_or_file(entry: NamedEntry, key: str) -> bytes | None:
    """The bytes under ``<key>-data`` (base64); if missing, those of the file under ``key``; if missing, None.

    Raises:
        ConfigError: the data is not base64, or the file cannot be read.
    """
    if data := entry.value.get(f"{key}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ConfigError(f"{key}-data in {entry.path} is not base64") from error
    if not (name := entry.value.get(key)):
        return None
    path = resolve(entry, str(name))
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key} {path} (named in {entry.path}) cannot be read: {error.strerror}") from error


def resolve(entry: NamedEntry, name: str) -> Path:
    """The path that ``name`` refers to: a relative one is relative to the file that contains it."""
    return (entry.path.parent / Path(name).expanduser()).resolve()


def default_paths(environ: Mapping[str, str]) -> list[Path]:
    """The files in ``$KUBECONFIG``; if it is unset, ``~/.kube/config``."""
    if listed := environ.get("KUBECONFIG"):
        return [Path(part).expanduser() for part in listed.split(os.pathsep) if part]
    return [Path(environ.get("HOME") or "~").expanduser() / ".kube" / "config"]


def _parse(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"kubeconfig {path} cannot be read: {error}") from error
    try:
        content = orjson.loads(text) if text.lstrip().startswith("{") else _parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"kubeconfig {path} is not valid: {error}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"kubeconfig {path} is empty or not a mapping")
    return content


def _parse_yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _merge(merged: Kubeconfig, path: Path, content: Mapping[str, Any]) -> None:
    merged.paths.append(path)
    merged.current_context = merged.current_context or str(content.get("current-context") or "")
    for plural, singular, target in (
        ("clusters", "cluster", merged.clusters),
        ("users", "user", merged.users),
        ("contexts", "context", merged.contexts),
    ):
        items = content.get(plural) or []
        if not isinstance(items, list):
            raise ConfigError(f"{plural} in {path} must be a list")
        for item in items:
            if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
                raise ConfigError(f"every entry of {plural} in {path} needs a name")
            value = item.get(singular) or {}
            if not isinstance(value, Mapping):
                raise ConfigError(f"{singular} {item['name']!r} in {path} must be a mapping")
            target.setdefault(item["name"], NamedEntry(value, path))
