"""What a step asks of the API server: its worker does it, with the token that the process of the step does not have.

The process sends a request over the channel of the step and waits for the answer. The worker makes it if the step of
this channel may ask for it: so no step writes the record, or claims the effects, of another one. Source: SDK contract
24.8.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bubu_sdk import logs
from bubu_sdk.errors import Object
from bubu_sdk.kube import (
    CATALOG_API,
    ENGRAMS_API,
    JSON_PATCH,
    MERGE_PATCH,
    RUNS_API,
    Cluster,
    KubeError,
    StatusError,
    UnreachableError,
    UntrustedError,
    status_error,
)
from bubu_sdk.workers import channel
from bubu_sdk.workers.assignment import WORKER_EXIT, AssignedAttempt
from bubu_sdk.workers.order import outcome_of_wire, outcome_to_wire
from bubu_sdk.workers.outcome import AttemptOutcome

_REQUEST: Final = b"r"
_MAX_SECONDS: Final = 30.0
_FORBIDDEN: Final = 403
_NAME: Final = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_CHANGES: Final = ("add", "remove", "replace", "test")

log = logging.getLogger(logs.SDK_LOGGER)


class ErrandCluster:
    """The API server, as the process of a step sees it. Thread-safe."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._pid = os.getpid()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Object:
        """As ``Cluster.request``."""
        if os.getpid() != self._pid:
            raise UnreachableError(f"{method} {path}: only the process of the step asks its worker, none that it forks")
        errand = json.dumps([method, path, body, content_type, timeout_seconds], ensure_ascii=False)
        try:
            with self._lock:
                with self._sending:
                    channel.send(self._end, _REQUEST + errand.encode(errors="surrogatepass"))
                answer = channel.receive(self._end)
        except OSError as error:
            raise UnreachableError(f"{method} {path}: {error}") from error
        if answer is None:
            raise UnreachableError(f"{method} {path}: the worker ends")
        return _answered(json.loads(answer))

    def report(self, outcome: AttemptOutcome) -> None:
        """Say how the step has ended. It may have left a thread that is asking for something: nothing is answered then.

        Raises:
            OSError: the worker has ended.
        """
        with self._sending:
            channel.send(self._end, outcome_to_wire(outcome))


def report_over(end: socket.socket, answer: Callable[[bytes], bytes]) -> AttemptOutcome | None:
    """What a step reports over its channel; ``None`` if it says nothing, or what cannot be read.

    Until then, it may send one errand after the other, which ``answer`` does. Nobody waits for one after the report.
    """
    errand = None
    with suppress(OSError):
        while (sent := channel.receive(end)) is not None:
            if not sent.startswith(_REQUEST):
                return _outcome_in(sent)
            if errand is not None:
                errand.join()
            errand = threading.Thread(target=_run, args=(end, answer, sent), name="bubu-errand", daemon=True)
            errand.start()
    return None


def _outcome_in(report: bytes) -> AttemptOutcome | None:
    try:
        return outcome_of_wire(report)
    except ValueError as error:
        log.warning("the process of a step has reported what cannot be read: %s", error)
        return None


def _run(end: socket.socket, answer: Callable[[bytes], bytes], sent: bytes) -> None:
    given = answer(sent)
    with suppress(OSError):  # it has ended
        channel.send(end, given)


def answer_to(sent: bytes, attempt: AssignedAttempt, namespace: str, cluster: Cluster) -> bytes:
    """Do what the process of an attempt asks for, if it may; never fails."""
    try:
        method, path, body, content_type, seconds = json.loads(sent[1:].decode(errors="surrogatepass"))
        timeout_seconds = min(max(float(seconds), 0.001), _MAX_SECONDS)
        if not is_permitted(method, path, body, content_type, attempt, namespace):
            raise StatusError(_FORBIDDEN, f"a step in a warm worker may not ask for this: {method} {path}")
        given = cluster.request(method, path, body, content_type=content_type, timeout_seconds=timeout_seconds)
        return json.dumps({"object": given}, ensure_ascii=False).encode(errors="surrogatepass")
    except KubeError as error:
        return json.dumps(_failure(error)).encode()
    except (ValueError, TypeError, RecursionError, OverflowError) as error:  # of a process that sends what it likes
        return json.dumps({"code": 400, "message": f"no request: {error}", "retryAfter": 0.0, "details": None}).encode()


def is_permitted(
    method: object, path: object, body: Any, content_type: object, attempt: AssignedAttempt, namespace: str
) -> bool:
    """Whether the step may ask for this: to read single objects, to write its own record, to claim its own effects."""
    if not isinstance(method, str) or not isinstance(path, str) or not isinstance(content_type, str):
        return False
    step_run = f"{RUNS_API}/namespaces/{namespace}/stepruns/{attempt.step_run}"
    claims = f"{RUNS_API}/namespaces/{namespace}/effectclaims"
    if method == "GET":
        return body is None and (path == step_run or _may_be_read(path, namespace))
    if method == "PATCH":
        return path == f"{step_run}/status" and _is_report(body, content_type)
    is_claim = (method == "POST" and path == claims) or (method == "PUT" and _is_in(path, claims))
    return is_claim and _is_claim_of(body, attempt)


def _may_be_read(path: str, namespace: str) -> bool:
    core = f"/api/v1/namespaces/{namespace}"
    collections = (
        *(f"{core}/secrets", f"{core}/configmaps", f"{ENGRAMS_API}/namespaces/{namespace}/engrams"),
        *(f"{RUNS_API}/namespaces/{namespace}/effectclaims", f"{CATALOG_API}/engramtemplates"),
    )
    return any(_is_in(path, each) for each in collections)


def _is_in(path: str, collection: str) -> bool:
    head, _, name = path.rpartition("/")
    return head == collection and re.fullmatch(_NAME, name) is not None


def _is_report(body: Any, content_type: str) -> bool:
    """Whether a patch changes the status, but not what only the worker says: that the process has ended."""
    if content_type == MERGE_PATCH:
        status = body.get("status") if isinstance(body, Mapping) else None
        return isinstance(status, Mapping) and WORKER_EXIT not in status
    if content_type != JSON_PATCH or not isinstance(body, Sequence):
        return False
    return all(_is_change(each) for each in body)


def _is_change(operation: Any) -> bool:
    if not isinstance(operation, Mapping) or operation.get("op") not in _CHANGES:
        return False
    path, value = operation.get("path"), operation.get("value")
    if path == "/metadata/resourceVersion":
        return True
    if path == "/status":
        return isinstance(value, Mapping) and WORKER_EXIT not in value
    return isinstance(path, str) and path.startswith("/status/") and path.split("/")[2] != WORKER_EXIT


def _is_claim_of(claim: Any, attempt: AssignedAttempt) -> bool:
    """The API server refuses to change the step of a claim that exists."""
    spec = claim.get("spec") if isinstance(claim, Mapping) else None
    reference = spec.get("stepRunRef") if isinstance(spec, Mapping) else None
    return (
        isinstance(reference, Mapping)
        and reference.get("name") == attempt.step_run
        and reference.get("uid") in (None, attempt.uid)
    )


def _failure(error: KubeError) -> Object:
    if isinstance(error, StatusError):
        message = str(error).removesuffix(f" (HTTP {error.code})")
        more = {"retryAfter": error.retry_after_seconds, "details": dict(error.details) or None}
        return {"code": error.code, "message": message, **more}
    return {"code": 0, "message": str(error), "isTrusted": not isinstance(error, UntrustedError)}


def _answered(answer: Any) -> Object:
    if "object" in answer:
        found: Object = answer["object"]
        return found
    if answer["code"]:
        code, message = answer["code"], answer["message"]
        raise status_error(code, message, retry_after_seconds=answer["retryAfter"], details=answer["details"])
    kind = UnreachableError if answer["isTrusted"] else UntrustedError
    raise kind(answer["message"])
