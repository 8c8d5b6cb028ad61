"""Replaces references by the values that they refer to.

A storage reference is read and unwrapped, and the references inside are hydrated, too. ConfigMap and Secret references
are read with the Pod's own rights. Limits apply to the depth, to the size of one object and to the total size. Source:
SDK contract 1.3, 5, 11.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from bubu_contract import references
from bubu_sdk import reference
from bubu_sdk.errors import InputError, Object, StorageError
from bubu_sdk.reference import KubeReference
from bubu_sdk.storage import Store

MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
MAX_CONFIG_DEPTH: Final = 64
MAX_CONFIG_NODES: Final = 10_000

ReadKube = Callable[[KubeReference, str], str]
"""Reads the value of a ConfigMap or Secret key; the second argument is the path for error messages."""


class Hydrator:
    """Hydrates the payloads of one container; all objects count towards one budget of bytes."""

    def __init__(self, store: Store | None, read_kube: ReadKube, *, namespace: str, max_depth: int) -> None:
        self._store = store
        self._read_kube = read_kube
        self._namespace = namespace
        self._max_depth = max_depth
        self._remaining_bytes = MAX_TOTAL_BYTES

    def hydrate(self, value: Any, name: str) -> Any:
        """``value`` with every reference replaced; ``name`` is the root of the paths in error messages.

        Raises:
            StorageError: the store is disabled, failed, or an object is missing, malformed or too large.
            InputError: a reference or sub-path is malformed, a reference leads to another namespace, or the nesting is
                too deep; names the path.
        """
        return self._walk(value, name, 0)

    def _walk(self, node: Any, path: str, depth: int) -> Any:
        if not isinstance(node, (Mapping, list)):
            return node
        if depth > self._max_depth:
            raise InputError(f"{path}: nested deeper than {self._max_depth} (BUBU_MAX_RECURSION_DEPTH)")
        if isinstance(node, list):
            return [self._walk(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node)]
        if reference.is_storage_reference(node):
            return self._follow(node, path, depth)
        kube = reference.kube_reference(node, path, self._namespace)
        if kube is not None:
            return reference.interpret(self._read_kube(kube, path), kube.format, path)
        return {key: self._walk(item, f"{path}.{key}", depth + 1) for key, item in node.items()}

    def _follow(self, node: Mapping[str, Any], path: str, depth: int) -> Any:
        key = reference.own_key(node[references.STORAGE_REFERENCE], self._namespace, path)
        if self._store is None:
            raise StorageError(
                f"{path}: refers to the stored object {key!r}, but no storage is configured; "
                "give the Story the storage policy that its upstream steps use",
                retryable=False,
            )
        content = self._store.read(key)
        self._remaining_bytes -= len(content)
        if self._remaining_bytes < 0:
            raise StorageError(f"{path}: more than {MAX_TOTAL_BYTES} bytes of stored objects", retryable=False)
        if not references.is_intact(key, content):
            raise StorageError(
                f"{path}: the stored object {key!r} does not have the content that was stored: its SHA-256 differs "
                "from the one in its key; run the step again that wrote it",
                retryable=False,
            )
        value = self._walk(unwrap(content, key), path, depth + 1)
        sub_path = node.get(references.STORAGE_PATH, "")
        return self._walk(reference.select(value, sub_path), path, depth + 1) if sub_path.strip() else value


def unwrap(content: bytes, key: str) -> Any:
    """The data inside a stored object.

    Raises:
        StorageError: the object does not have the wrapper of SDK contract 2.
    """
    try:
        wrapper = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"stored object {key!r} is not JSON: {error}", retryable=False) from error
    kind = wrapper.get("contentType") if isinstance(wrapper, dict) else None
    if kind not in ("json", "raw"):
        raise StorageError(
            f"stored object {key!r} has the content type {kind!r}; expected 'json' or 'raw'", retryable=False
        )
    data = wrapper.get("data")
    if kind == "raw" and not isinstance(data, str):
        raise StorageError(f"stored object {key!r} is raw, but its data is not a string", retryable=False)
    return data


def check_config_size(config: Object, max_depth: int = MAX_CONFIG_DEPTH, max_nodes: int = MAX_CONFIG_NODES) -> None:
    """Refuse a configuration tree that exceeds the limits of depth or size.

    Raises:
        InputError: the tree exceeds a limit; names the limit.
    """
    nodes, stack = 0, [(config, 0)]
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if depth > max_depth:
            raise InputError(f"config: nested deeper than {max_depth} (BUBU_CONFIG_HYDRATION_MAX_DEPTH)")
        if nodes > max_nodes:
            raise InputError(f"config: more than {max_nodes} nodes (BUBU_CONFIG_HYDRATION_MAX_NODES)")
        children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
        stack += [(child, depth + 1) for child in children]
