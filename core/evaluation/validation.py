"""Validating documents against JSON Schemas without holding the event loop.

The library validates at full speed and cannot be interrupted, and a schema of 2 kB can keep it busy for seconds. So
the cost is bounded statically first; beyond the bound the validation runs in a process with limits of CPU time and
memory that is killed at its deadline. One process per validation, started when needed, waited for by the caller,
never left behind.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final

import orjson
import trio

from core.evaluation import schema as schemas
from core.evaluation import worker
from core.evaluation.schema import Json, SchemaError, SchemaProblem

MAX_PROBLEMS: Final = 50
SCHEMA_SECONDS: Final = 10.0
MAX_LOOP_COST: Final = 20_000

_MAX_LOOP_BYTES: Final = 16_384
_MEMORY_BYTES: Final = 1 << 30
_CACHED_SCHEMAS: Final = 128
_MAX_PROCESSES: Final = 1
_WORKER: Final = str(Path(worker.__file__).resolve())

_Found = list[list[Any]]  # path segments, message, keyword


@dataclass(slots=True)
class _Prepared:
    """A schema in normal form, and its validator once it has been worth building here."""

    normal: dict[str, Json]
    validate: Callable[[Json, int], _Found] | None = None


class SchemaValidator:
    """Validates documents; remembers the schemas it has prepared."""

    def __init__(self, *, seconds: float = SCHEMA_SECONDS, memory_bytes: int = _MEMORY_BYTES) -> None:
        """
        Args:
            seconds: how long one validation may take in its own process.
            memory_bytes: how much address space that process may use.
        """
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._processes = trio.CapacityLimiter(_MAX_PROCESSES)
        self._prepared: OrderedDict[bytes, _Prepared] = OrderedDict()

    async def problems(self, schema: Mapping[str, Json], document: Json) -> list[SchemaProblem]:
        """What about ``document`` the schema does not allow, at most ``MAX_PROBLEMS``; empty when it is valid.

        An unusable schema, and one that takes too long, are problems of the whole document.
        """
        try:
            prepared = await self._prepare(schema)
            cost = schemas.cost_bound(prepared.normal, document, give_up_at=MAX_LOOP_COST)
            if cost < MAX_LOOP_COST:
                if prepared.validate is None:
                    prepared.validate = _validator(prepared.normal)
                found = prepared.validate(document, MAX_PROBLEMS)
            else:
                found = await self._in_process(prepared.normal, document)
        except SchemaError as error:
            return [SchemaProblem("", f"the schema cannot be used: {error}", "schema")]
        return [SchemaProblem(schemas.path_of(path), message, keyword) for path, message, keyword in found]

    async def _prepare(self, schema: Mapping[str, Json]) -> _Prepared:
        await trio.lowlevel.checkpoint()
        key = orjson.dumps(schema)
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(key) <= _MAX_LOOP_BYTES:
                prepared = _Prepared(schemas.normalise(schema))
            else:
                prepared = _Prepared(await trio.to_thread.run_sync(schemas.normalise, schema))
            self._prepared[key] = prepared
            if len(self._prepared) > _CACHED_SCHEMAS:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        return prepared

    async def _in_process(self, normal: dict[str, Json], document: Json) -> _Found:
        request = orjson.dumps({"schema": normal, "document": document, "max_problems": MAX_PROBLEMS})
        command = [sys.executable, "-I", _WORKER, str(int(self._seconds) + 1), str(self._memory_bytes)]
        async with self._processes:
            with trio.move_on_after(self._seconds) as scope:
                done = await trio.run_process(
                    command,
                    stdin=request,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                    deliver_cancel=_kill,
                )
        if scope.cancelled_caught:
            return _too_expensive(f"takes longer than {self._seconds:g} s")
        return _answer_of(done)


def _validator(normal: dict[str, Json]) -> Callable[[Json, int], _Found]:
    try:
        return worker.build_validator(normal)
    except ValueError as error:
        raise SchemaError(str(error)) from error


async def _kill(process: trio.Process) -> None:
    process.kill()


def _answer_of(done: CompletedProcess[bytes]) -> _Found:
    if done.returncode != 0:
        return _too_expensive("needs more time or memory than it may take")
    answer = orjson.loads(done.stdout)
    if isinstance(answer, dict):
        raise SchemaError(answer["error"])
    return list(answer)


def _too_expensive(how: str) -> _Found:
    return [[[], f"validation {how}; simplify the schema", "limit"]]
