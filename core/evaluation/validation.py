"""Validates documents against JSON Schemas without blocking the event loop.

The library is fast but cannot be interrupted, and a schema of 2 kB can keep it busy for seconds. So the cost is bounded
statically first; above the bound the validation runs in a process, see ``pool``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import trio

from core.caches.recently_used import RecentlyUsed
from core.evaluation import schema as schemas
from core.evaluation import worker
from core.evaluation.asker import NOBODY, Asker
from core.evaluation.lane import WaitNotifier, WorkerLane
from core.evaluation.pool import OverLimitError, WorkerPool
from core.evaluation.schema import Cost, Json, SchemaError, SchemaProblem

MAX_PROBLEMS: Final = 50
MAX_LOOP_COST: Final = 20_000

_MAX_LOOP_BYTES: Final = 16_384
_UNFIT: Final = "is nested too deeply, or holds a string that is not valid Unicode"
_CACHED_BYTES: Final = 1 << 20
"""Of the texts of the schemas that were used last; prepared, one takes eight to forty times its text."""

_Found = list[list[Any]]  # path segments, message, keyword


@dataclass(slots=True)
class _Prepared:
    """A schema in normal form, and its validator when it has been worth building one in this process."""

    normal: dict[str, Json]
    cost: Cost
    validate: Callable[[Json, int], _Found] | None = None


class SchemaValidator:
    """Validates documents; caches prepared schemas."""

    def __init__(
        self, pool: WorkerPool | None = None, processes: WorkerLane | None = None, analyses: WorkerLane | None = None
    ) -> None:
        """
        Args:
            pool: runs costly validations; without it, each has a process of its own.
            processes: the turns of namespaces for these processes.
            analyses: the turns of namespaces for the analysis of large schemas.
        """
        self._pool = pool or WorkerPool()
        self._processes = processes or WorkerLane("process", lambda: self._pool.processes, WaitNotifier())
        self._analyses = analyses or WorkerLane("analysis", lambda: 1, WaitNotifier())
        self._room = trio.CapacityLimiter(math.inf)  # the lane bounds their number
        self._prepared: RecentlyUsed[bytes, _Prepared] = RecentlyUsed(_CACHED_BYTES)

    async def problems(self, schema: Mapping[str, Json], document: Json, asker: Asker = NOBODY) -> list[SchemaProblem]:
        """The violations of the schema in ``document``, at most ``MAX_PROBLEMS``; empty when it is valid.

        An unusable schema, and one that takes too long, are reported as problems of the whole document.
        """
        try:
            prepared = await self._prepare(schema, asker)
            if not _is_quick(prepared, document):
                return _listed(await self._in_process(prepared.normal, document, asker))
            return _listed(_found_at_once(prepared, document))
        except SchemaError as error:
            return [SchemaProblem("", f"the schema cannot be used: {error}", "schema")]
        except (TypeError, ValueError, RecursionError):  # neither library accepts it
            return [SchemaProblem("", f"the document cannot be validated: it {_UNFIT}", "limit")]

    async def quick_problems(
        self, schema: Mapping[str, Json], document: Json, asker: Asker = NOBODY
    ) -> list[SchemaProblem]:
        """The violations, as far as they can be found without a process; nothing about an unusable schema.

        For callers that only want to know earlier what a later check finds in any case.
        """
        try:
            prepared = await self._prepare(schema, asker)
            return _listed(_found_at_once(prepared, document)) if _is_quick(prepared, document) else []
        except (SchemaError, TypeError, ValueError, RecursionError):
            return []

    async def _prepare(self, schema: Mapping[str, Json], asker: Asker) -> _Prepared:
        await trio.lowlevel.checkpoint()
        try:
            key = orjson.dumps(schema)
        except TypeError as error:
            raise SchemaError(f"it {_UNFIT}") from error
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(key) <= _MAX_LOOP_BYTES:
                prepared = _prepared(schema)
            else:
                async with self._analyses.turn(asker):
                    prepared = await trio.to_thread.run_sync(_prepared, schema, limiter=self._room)
            self._prepared.put(key, prepared, len(key))
        return prepared

    async def _in_process(self, normal: dict[str, Json], document: Json, asker: Asker) -> _Found:
        question = {"kind": "schema", "schema": normal, "document": document, "max_problems": MAX_PROBLEMS}
        try:
            async with self._processes.turn(asker):
                answer = await self._pool.ask(question)
        except OverLimitError as error:
            return [[[], f"validation {error}; simplify the schema", "limit"]]
        if isinstance(answer, dict):
            raise SchemaError(answer["error"])
        return list(answer)


def _is_quick(prepared: _Prepared, document: Json) -> bool:
    return prepared.cost.bound(document) < MAX_LOOP_COST


def _found_at_once(prepared: _Prepared, document: Json) -> _Found:
    if prepared.validate is None:
        prepared.validate = _validator(prepared.normal)
    return prepared.validate(document, MAX_PROBLEMS)


def _listed(found: _Found) -> list[SchemaProblem]:
    return [SchemaProblem(schemas.path_of(path), message, keyword) for path, message, keyword in found]


def _prepared(schema: Mapping[str, Json]) -> _Prepared:
    normal = schemas.normalise(schema)
    return _Prepared(normal, schemas.cost_of(normal, give_up_at=MAX_LOOP_COST))


def _validator(normal: dict[str, Json]) -> Callable[[Json, int], _Found]:
    try:
        return worker.build_validator(normal)
    except ValueError as error:
        raise SchemaError(str(error)) from error
