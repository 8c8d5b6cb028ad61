"""The object storage of the model: a few values from steps, which never change, inputs from clients, and the requests
for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from core.api.reference_keys import STORAGE_PATH, STORAGE_REFERENCE
from core.engine.errors import RejectedError, StorageUnavailableError, UnavailableError
from core.expressions.paths import is_reference
from fuzz.engine.cluster import Cluster
from fuzz.engine.process import Process

STORED: Final[dict[str, Any]] = {
    "outputs/default/yes": True,
    "outputs/default/no": False,
    "outputs/default/two": 2,
    "outputs/default/record": {"n": 2, "flag": True, "deep": {STORAGE_REFERENCE: "outputs/default/list"}},
    "outputs/default/list": [1, {STORAGE_REFERENCE: "outputs/default/two"}],
}


NOTHING: Final[Mapping[str, bytes]] = {}


def stored(name: str, path: str = "") -> dict[str, str]:
    """A reference to one of the values."""
    return {STORAGE_REFERENCE: f"outputs/default/{name}"} | ({STORAGE_PATH: path} if path else {})


class ModelPayloads:
    """One process's view of the store; its requests have the same faults as those to the API server."""

    def __init__(self, cluster: Cluster, process: Process, inputs: Mapping[str, bytes]) -> None:
        """
        Args:
            inputs: what clients have stored, as JSON, by key.
        """
        self._cluster = cluster
        self._process = process
        self._inputs = inputs

    async def fetch(self, value: Any, *, namespace: str, field: str, depth: int) -> Any:
        try:
            return await self._process.call(self._cluster, lambda: value_of(value, namespace, field, self._inputs))
        except UnavailableError as error:
            raise StorageUnavailableError(f"the store does not answer: {error}") from error


def value_of(value: Any, namespace: str, field: str, inputs: Mapping[str, bytes] = NOTHING) -> Any:
    if isinstance(value, list):
        return [value_of(item, namespace, field, inputs) for item in value]
    if not isinstance(value, dict):
        return value
    if not is_reference(value):
        return {key: value_of(item, namespace, field, inputs) for key, item in value.items()}
    key = value[STORAGE_REFERENCE]
    if key not in {*STORED, *inputs} or key.split("/")[1] != namespace:
        raise RejectedError(f"{field}: the store has no object {key!r}")
    stored_value = STORED[key] if key in STORED else json.loads(inputs[key])
    found = value_of(stored_value, namespace, field, inputs)
    for part in filter(None, value.get(STORAGE_PATH, "").split(".")):
        if not isinstance(found, dict) or part not in found:
            raise RejectedError(f"{field}: {key!r} has no {part!r}")
        found = found[part]
    return found
