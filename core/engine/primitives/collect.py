"""Reads the output of an attempt whose container has no SDK, once it has succeeded.

Reading changes nothing, so a restarted operator reads again. The output is recorded in the same write as the end of the
step. Source: StepRun contract 25.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from core.api.objects import Object
from core.engine.context.step_context import StepContext
from core.engine.errors import NoStoreError, ObstacleError, RejectedError, ResultLostError, UnavailableError
from core.engine.payload_port import StoredAs
from core.engine.ports import Binding, StepError
from core.engine.step.inline_output import inline_limit, why_not_inline

RESULT_PATIENCE_SECONDS: Final = 120.0
"""A node that gives no log for this time, counted by this process, counts as gone. A missing permission does not: a
person can fix it.
"""


class ResultReader:
    """Reads the result of one step's attempts."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._failing_since: float | None = None

    async def read(self, step_run: Object, binding: Binding | None) -> Mapping[str, Any] | StepError:
        """The output, with large parts in the object store; an error if it can never be read, or is too large and there
        is no store. Without a binding, no policy limits it.

        Raises:
            ResultLostError: it is gone.
            StaleError, UnavailableError: look again.
        """
        try:
            output = await self._context.engine.executors.read_result(step_run)
        except RejectedError as error:
            return StepError(error.reason, str(error))
        except ObstacleError:
            self._failing_since = None
            raise
        except UnavailableError as error:
            now = trio.current_time()
            self._failing_since = now if self._failing_since is None else self._failing_since
            if now < self._failing_since + RESULT_PATIENCE_SECONDS:
                raise
            self._failing_since = None
            raise ResultLostError(
                f"it could not be read for {RESULT_PATIENCE_SECONDS:.0f} s, the last error was: {error}"
            ) from error
        self._failing_since = None
        limit = binding.max_inline_size_bytes if binding is not None else None
        if binding is not None and binding.shares_store:
            output = await self._offloaded(output, step_run, inline_limit(limit))
        return why_not_inline(output, limit) or output

    async def _offloaded(self, output: Mapping[str, Any], step_run: Object, limit: int) -> Mapping[str, Any]:
        """The output with its large parts in the object store; as it is if the operator has none any more."""
        try:
            found: Mapping[str, Any] = await self._context.stored.offloaded(
                output,
                StoredAs.OUTPUTS,
                step_run["metadata"]["name"],
                self._context.pace(),
                total_bytes=limit,
                inline_bytes=limit,
                field="the output",
            )
        except NoStoreError:
            return output
        return found
