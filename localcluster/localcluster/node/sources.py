"""Secrets and ConfigMaps to which a Pod refers; read once per start, and again if they were missing."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from localcluster.node.client import ApiClient, ApiError, namespaced

Object = dict[str, Any]


class MissingSourceError(Exception):
    """A Secret, ConfigMap or key that the Pod needs does not exist (yet); the text is that of a kubelet."""


@dataclass(frozen=True, slots=True, order=True)
class SourceName:
    """A Secret or ConfigMap of the Pod's namespace."""

    plural: str
    """``secrets`` or ``configmaps``."""
    name: str

    @property
    def word(self) -> str:
        return self.plural.removesuffix("s")


_AUTHORITY = SourceName("configmaps", "kube-root-ca.crt")
_AUTHORITY_KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sources:
    """The contents of the Secrets and ConfigMaps that exist."""

    contents: Mapping[SourceName, Mapping[str, bytes]] = field(default_factory=dict)

    def entries(self, source: SourceName, *, optional: bool) -> Mapping[str, bytes]:
        """All keys and values of ``source``.

        Raises:
            MissingSourceError: it does not exist, and ``optional`` is false.
        """
        found = self.contents.get(source)
        if found is None and not optional:
            raise MissingSourceError(f'{source.word} "{source.name}" not found')
        return found or {}

    def entry(self, source: SourceName, key: str, *, optional: bool) -> bytes | None:
        """One value; None when it is missing and ``optional``."""
        entries = self.entries(source, optional=optional)
        if key not in entries and not optional:
            raise MissingSourceError(f"couldn't find key {key} in {source.word} {source.name}")
        return entries.get(key)


class SourceReader:
    """Reads them from the API server, anew for each Pod; only ``kube-root-ca.crt`` is cached, per namespace."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._authorities: dict[str, tuple[float, Mapping[str, bytes]]] = {}

    async def read(self, namespace: str, names: Iterable[SourceName]) -> Sources:
        """Read each of ``names`` once; those that do not exist are left out.

        Raises:
            ApiError, UnreachableError: the server refuses or does not answer.
        """
        contents: dict[SourceName, Mapping[str, bytes]] = {}
        for source in sorted(set(names)):
            found = await (self._authority(namespace) if source == _AUTHORITY else self._get(namespace, source))
            if found is not None:
                contents[source] = found
        return Sources(contents)

    async def _authority(self, namespace: str) -> Mapping[str, bytes] | None:
        """The authority that every token volume shows. It changes once in years; a kubelet keeps it as long, too."""
        read_at, contents = self._authorities.get(namespace, (-math.inf, {}))
        if trio.current_time() - read_at < _AUTHORITY_KEPT_SECONDS:
            return contents
        self._authorities.pop(namespace, None)
        found = await self._get(namespace, _AUTHORITY)
        if found is not None:
            self._authorities[namespace] = (trio.current_time(), found)
        return found

    async def _get(self, namespace: str, source: SourceName) -> Mapping[str, bytes] | None:
        try:
            found = await self._client.get(namespaced(source.plural, namespace, source.name))
        except ApiError as error:
            if error.code != 404:
                raise
            return None
        plain = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
        if source.plural == "secrets":
            plain = {key: base64.b64decode(value) for key, value in plain.items()}
        binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        return {**plain, **binary}


def names_in_containers(containers: Iterable[Object]) -> Iterator[SourceName]:
    """The Secrets and ConfigMaps that the environments of ``containers`` refer to."""
    for container in containers:
        for entry in container.get("envFrom") or []:
            yield from _references(entry, "secretRef", "configMapRef")
        for variable in container.get("env") or []:
            yield from _references(variable.get("valueFrom") or {}, "secretKeyRef", "configMapKeyRef")


def names_in_volumes(volumes: Iterable[Object]) -> Iterator[SourceName]:
    """The Secrets and ConfigMaps that ``volumes`` show as files."""
    for volume in volumes:
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            secret, config_map = source.get("secret"), source.get("configMap")
            if secret:
                yield SourceName("secrets", secret.get("secretName") or secret.get("name") or "")
            if config_map:
                yield SourceName("configmaps", config_map.get("name") or "")


def _references(entry: Mapping[str, Any], secret: str, config_map: str) -> Iterator[SourceName]:
    if entry.get(secret):
        yield SourceName("secrets", entry[secret]["name"])
    if entry.get(config_map):
        yield SourceName("configmaps", entry[config_map]["name"])
