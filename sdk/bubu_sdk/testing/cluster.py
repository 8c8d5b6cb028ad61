"""An API server in memory for the objects of one engram or impulse.

It is strict about the part of the protocol that it has: it checks preconditions. It changes nothing on its own, records
every request, and can be set to fail.
"""

from __future__ import annotations

import copy
import itertools
import json
import threading
import urllib.parse
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bubu_contract import canonical
from bubu_sdk.errors import Object
from bubu_sdk.kube import JSON_PATCH, MERGE_PATCH, RUNS_API, KubeError, status_error

Hook = Callable[[str, str, Any], None]
"""Called with method, path and body before a request is served; it may raise a ``KubeError``."""


@dataclass(frozen=True)
class Request:
    """One request, as it was sent."""

    method: str
    path: str
    body: Any
    content_type: str


class InMemoryCluster:
    """A ``bubu_sdk.kube.Cluster`` with its objects in a dict by path. Thread-safe."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        """Current objects by their path, for example ``/api/v1/namespaces/default/secrets/api``."""
        self.requests: list[Request] = []
        """All requests, also the refused ones."""
        self.before: Hook | None = None
        self.after: Hook | None = None
        """Called with method, path and body after a request was served; it may change objects."""
        self._versions = itertools.count(1)
        self._lock = threading.RLock()

    def add(self, path: str, document: Object) -> None:
        """Put an object at ``path``, with a new resourceVersion, and with a new uid if it has none."""
        with self._lock:
            stored: Object = copy.deepcopy(document)
            metadata = stored.setdefault("metadata", {})
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata["resourceVersion"] = str(next(self._versions))
            self.objects[path] = stored

    def fail(
        self,
        code: int,
        *,
        times: int = 1,
        method: str = "PATCH",
        retry_after_seconds: float = 0.0,
        details: Object | None = None,
    ) -> None:
        """Answer the next ``times`` requests of ``method`` with an HTTP failure; ``details`` of its ``Status``."""
        remaining = itertools.count(times, -1)

        def hook(asked: str, path: str, _: Any) -> None:
            if asked == method and next(remaining) > 0:
                message = f"set to fail: {asked} {path}"
                raise status_error(code, message, retry_after_seconds=retry_after_seconds, details=details)

        self.before = hook

    @property
    def status_patches(self) -> list[Object]:
        """The bodies of all patches of a StepRun status, in order, also of refused ones."""
        return [sent.body for sent in self.requests if sent.method == "PATCH" and sent.path.endswith("/status")]

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Object:
        del timeout_seconds  # an answer from memory takes no time
        sent = json.loads(canonical.encode(body)) if body is not None else None
        with self._lock:
            self.requests.append(Request(method, path, sent, content_type))
            hook = self.before
        if hook is not None:
            hook(method, path, sent)
        with self._lock:
            answer: Object = copy.deepcopy(self._serve(method, path, sent, content_type))
            hook = self.after
        if hook is not None:
            hook(method, path, sent)
        return answer

    def _serve(self, method: str, path: str, body: Any, content_type: str) -> Object:
        if method == "POST":
            target = f"{path}/{body['metadata']['name']}"
            if target in self.objects:
                raise status_error(409, f"{target} already exists")
            self.add(target, body)
            return self.objects[target]
        if method == "GET" and _is_collection(path):
            return self._list(path)
        target = path.removesuffix("/status")
        current = self.objects.get(target)
        if current is None:
            raise status_error(404, f"{target} not found")
        if method == "GET":
            return current
        if method == "PUT":
            _check_version(current, body)
            self.add(target, {**body, "metadata": {**current["metadata"], **body["metadata"]}})
        elif method == "PATCH":
            self._patch(target, current, body, content_type, status_only=path.endswith("/status"))
        else:
            raise status_error(405, f"{method} is not served")
        return self.objects[target]

    def _list(self, path: str) -> Object:
        """One page of a collection, by name; ``limit`` and ``continue`` are served, selectors are not."""
        collection, _, query = path.partition("?")
        options = dict(urllib.parse.parse_qsl(query))
        found = sorted(name for name in self.objects if name.rpartition("/")[0] == collection)
        start = int(options.get("continue", "0"))
        end = start + int(options.get("limit", str(len(found))))
        more = {"continue": str(end)} if end < len(found) else {}
        return {"kind": "List", "metadata": more, "items": [self.objects[name] for name in found[start:end]]}

    def _patch(self, target: str, current: Object, body: Any, content_type: str, *, status_only: bool) -> None:
        if content_type == MERGE_PATCH:
            _check_version(current, body)
            changed = _merged(current, body)
        elif content_type == JSON_PATCH:
            changed = _json_patched(current, body)
            _check_version(current, changed)
        else:
            raise status_error(415, f"{content_type} is not served")
        self.add(target, {**current, "status": changed.get("status", {})} if status_only else changed)


def _is_collection(path: str) -> bool:
    parts = path.partition("?")[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    return len(rest[2:] if rest[0] == "namespaces" and len(rest) > 2 else rest) == 1


def step_run_path(namespace: str, name: str) -> str:
    """The path of a StepRun."""
    return f"{RUNS_API}/namespaces/{namespace}/stepruns/{name}"


def claim_path(namespace: str, name: str) -> str:
    """The path of an EffectClaim."""
    return f"{RUNS_API}/namespaces/{namespace}/effectclaims/{name}"


def refusing(error: KubeError) -> Hook:
    """A hook that refuses every request with ``error``."""

    def hook(*_: Any) -> None:
        raise error

    return hook


def _check_version(current: Object, body: Object) -> None:
    for name in ("uid", "resourceVersion"):
        wanted = body.get("metadata", {}).get(name)
        if wanted and wanted != current["metadata"][name]:
            raise status_error(409, "the object has been modified; please apply your changes to the latest version")


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _json_patched(current: Object, operations: list[Object]) -> Object:
    changed: Object = copy.deepcopy(current)
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        parent: Any = changed
        for part in parts[:-1]:
            parent = parent[part]
        if operation["op"] == "test":
            if parent.get(parts[-1]) != operation["value"]:
                raise status_error(422, f"testing value {operation['path']} failed")
        elif operation["op"] == "remove":
            del parent[parts[-1]]
        else:
            parent[parts[-1]] = operation["value"]
    return changed
