"""Runs an engram here, without a cluster: the code of the container, with an API server and a store in memory."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

from bubu_sdk import decode, logs, redaction, typeschema
from bubu_sdk.batch import BatchRun, World
from bubu_sdk.contract import Identity
from bubu_sdk.engram_function import EngramFunction
from bubu_sdk.errors import Object
from bubu_sdk.testing.environment import EngramEnvironment

_TIMEOUT: Final = "24h"
_INLINE_BYTES: Final = 1024 * 1024


def problems_of(engram: EngramFunction[Any], inputs: Object) -> list[str]:
    """Why the inputs do not fit the function: unknown ones, then missing and malformed ones. Empty if they fit."""
    signature = engram.signature()
    kinds = [kind for kind in (signature.inputs_type, signature.config_type) if kind is not Any]
    problems: list[str] = []
    if signature.inputs is None and not kinds and signature.context is None:
        problems += [f"inputs.{key}: {engram.__name__} takes no inputs" for key in inputs]
    if signature.inputs is None or signature.inputs_type is not Any:
        problems += _unknown_to_all(inputs, kinds)
    for kind in kinds:
        problems += decode.problems_of(inputs, kind, "inputs")
    return list(dict.fromkeys(problems))


def run(engram: EngramFunction[Any], inputs: Object, secrets: Mapping[str, str]) -> tuple[int, Any]:
    """Run the function to its end, in this process; returns the exit code and the output.

    Logs, and what the function prints, go to stderr. SIGTERM and SIGINT cancel it, as in a container.
    """
    environment = EngramEnvironment(
        config=inputs,
        secrets={"local": secrets} if secrets else None,
        step_timeout=_TIMEOUT,
        inline_bytes=_INLINE_BYTES,
        environ={"BUBU_STEP_NAME": engram.name, "BUBU_TRIGGER_DATA": json.dumps(inputs)},
    )
    handler = _Readable(Identity.of(environment.environ), sys.stderr)
    world = World(environment.environ, lambda _: environment.cluster, lambda _: environment.store)
    with contextlib.redirect_stdout(sys.stderr), logs.Attached(handler, debug=False, root=True):
        batch = BatchRun(engram, world, handler)
        previous = {
            number: signal.signal(number, lambda received, _: batch.terminate(received))
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            ending = batch.execute()
        finally:
            for number, handler_before in previous.items():
                signal.signal(number, handler_before)
    return ending.exit_code, environment.output


class _Readable(logs.JsonLines):
    """Lines for people: ``INFO message key=value``. What the SDK says about a good run is left out."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != logs.SDK_LOGGER or record.levelno >= logging.WARNING:
            super().emit(record)

    def _line(self, record: logging.LogRecord) -> str:
        shown = f"{record.levelname} {redaction.redact(record.getMessage())}"
        extra = {key: value for key, value in vars(record).items() if key not in logs.STANDARD_FIELDS}
        shown += "".join(f" {key}={value!r}" for key, value in extra.items())
        if record.exc_info and record.exc_info[0] is not None:
            shown += "\n" + redaction.redact(logging.Formatter().formatException(record.exc_info))
        return f"{shown}\n"


def _unknown_to_all(inputs: Object, kinds: list[Any]) -> list[str]:
    """Inputs and configuration are one object: a key is unknown if neither model has it."""
    found = [dict(typeschema.unknown_keys(inputs, kind, "inputs")) for kind in kinds]
    common = set.intersection(*map(set, found)) if found else set()
    return [f"{path}: {message}" for path, message in (found[0] if found else {}).items() if path in common]
