"""The files that a volume shows: Secrets, ConfigMaps, tokens and Pod fields as paths, bytes and modes. Pure.

Supported kinds: secret, configMap, projected, downwardAPI (files made here), emptyDir, hostPath and
persistentVolumeClaim (directories, see ``mounts``). ``unsupported_volumes`` reports any other kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from localcluster.node.podfields import HostFacts, field_value, resource_value
from localcluster.node.sources import SourceName, Sources

Object = dict[str, Any]

FILE_KINDS = ("secret", "configMap", "projected", "downwardAPI")
DIRECTORY_KINDS = ("emptyDir", "hostPath", "persistentVolumeClaim")
DEFAULT_TOKEN_SECONDS = 3600
_DEFAULT_MODE = 0o644
_PROJECTED = ("secret", "configMap", "downwardAPI", "serviceAccountToken")


class VolumeError(Exception):
    """A volume cannot be shown as written; the text names the volume and the field."""


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class TokenWish:
    """A request of a volume for a service-account token."""

    audience: str
    """Empty: the API server's own audience."""
    expiration_seconds: int


def unsupported_volumes(pod: Object) -> list[str]:
    """One sentence for each volume that this node does not support."""
    complaints = []
    for volume in pod["spec"].get("volumes") or []:
        kinds = set(volume) - {"name"}
        if kinds and kinds.isdisjoint((*FILE_KINDS, *DIRECTORY_KINDS)):
            complaints.append(f"spec.volumes[{volume['name']}]: {sorted(kinds)[0]} is not supported by a local node")
        for source in (volume.get("projected") or {}).get("sources") or []:
            if set(source).isdisjoint(_PROJECTED):
                kind = next(iter(sorted(source)), "empty source")
                complaints.append(f"spec.volumes[{volume['name']}].projected: {kind} is not supported by a local node")
    return complaints


def token_wishes(volumes: Iterable[Object]) -> set[TokenWish]:
    """The tokens that ``volume_files`` will need."""
    return {
        _wish(source["serviceAccountToken"])
        for volume in volumes
        for source in (volume.get("projected") or {}).get("sources") or []
        if source.get("serviceAccountToken")
    }


def volume_files(
    pod: Object, volume: Object, sources: Sources, tokens: Mapping[TokenWish, str], host: HostFacts
) -> dict[str, File] | None:
    """Relative paths and their files; None for the kinds that are directories.

    Raises:
        MissingSourceError: a Secret, ConfigMap or key that is not optional is missing.
        PodFieldError, VolumeError: a reference or a path is invalid.
    """
    if volume.get("projected"):
        projected = volume["projected"]
        mode = _mode(projected)
        files: dict[str, File] = {}
        for source in projected.get("sources") or []:
            files.update(_source_files(pod, source, mode, sources, tokens, host))
    elif any(volume.get(kind) is not None for kind in FILE_KINDS):
        kind = next(kind for kind in FILE_KINDS if volume.get(kind) is not None)
        files = dict(_source_files(pod, volume, _mode(volume[kind]), sources, tokens, host))
    else:
        return None
    for path in files:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts:
            raise VolumeError(f"spec.volumes[{volume['name']}]: path {path!r} must be relative and stay inside")
    return files


def _source_files(
    pod: Object,
    source: Object,
    mode: int,
    sources: Sources,
    tokens: Mapping[TokenWish, str],
    host: HostFacts,
) -> Iterator[tuple[str, File]]:
    secret, config_map = source.get("secret"), source.get("configMap")
    if secret is not None:
        yield from _keyed(SourceName("secrets", secret.get("secretName") or secret.get("name")), secret, mode, sources)
    if config_map is not None:
        yield from _keyed(SourceName("configmaps", config_map.get("name")), config_map, mode, sources)
    if source.get("serviceAccountToken"):
        wanted = source["serviceAccountToken"]
        yield wanted["path"], File(tokens[_wish(wanted)].encode(), mode)
    for item in (source.get("downwardAPI") or {}).get("items") or []:
        yield item["path"], File(_downward(pod, item, host).encode(), item.get("mode") or mode)


def _keyed(name: SourceName, reference: Object, mode: int, sources: Sources) -> Iterator[tuple[str, File]]:
    optional = bool(reference.get("optional"))
    items = reference.get("items")
    if not items:
        yield from ((key, File(value, mode)) for key, value in sources.entries(name, optional=optional).items())
        return
    for item in items:
        value = sources.entry(name, item["key"], optional=optional)
        if value is not None:
            yield item["path"], File(value, item.get("mode") or mode)


def _downward(pod: Object, item: Object, host: HostFacts) -> str:
    if item.get("fieldRef"):
        return field_value(pod, item["fieldRef"]["fieldPath"], host)
    reference = item["resourceFieldRef"]
    container: Object = next(
        (entry for entry in pod["spec"]["containers"] if entry["name"] == reference["containerName"]), {}
    )
    return resource_value(container, reference, host)


def _mode(source: Object) -> int:
    mode = source.get("defaultMode")
    return _DEFAULT_MODE if mode is None else int(mode)


def _wish(source: Object) -> TokenWish:
    return TokenWish(source.get("audience") or "", int(source.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS))
