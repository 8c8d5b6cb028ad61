"""Copies of an output for another owner: neither depends on the stored objects of the other.

Source: StepRun contract 20.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.artifact import ARTIFACT, with_artifacts
from core.api.objects import Object
from core.engine.context.step_context import StepContext
from core.engine.payload_port import Offload, StoredAs
from core.engine.ports import Binding
from core.engine.step.manifest import size_bytes
from core.expressions.paths import has_reference

_DEPTH: Final = 128
_LEAST_INLINE_BYTES: Final = 1024
"""For a step that stores everything: a reference of each small value would be larger than the value."""


class OutputCopies:
    """Copies outputs of one step. All methods raise the errors of ``Payloads``; without stored data, they need no
    object store.
    """

    def __init__(self, context: StepContext) -> None:
        self._context = context

    async def whole(self, output: Any) -> Any:
        """``output`` with its stored data, except files."""
        if not has_reference(output):
            return output
        namespace = self._context.namespace
        return await self._context.engine.payloads.fetch(output, namespace=namespace, field="output", depth=_DEPTH)

    async def for_step_run(self, whole: Any, name: str, binding: Binding) -> Any:
        """An output of ``whole`` as the StepRun ``name`` has it: large parts, and files, are its own."""
        limit = binding.max_inline_size_bytes if binding.max_inline_size_bytes > 0 else _LEAST_INLINE_BYTES
        output = await self.with_files(whole, f"{StoredAs.OUTPUTS}/{self._context.namespace}/{name}")
        return await self.offloaded(output, StoredAs.OUTPUTS, name, limit, limit)

    async def with_files(self, output: Any, folder: str) -> Any:
        """``output`` with a copy, below ``folder``, of each file that a step has saved."""
        copies: dict[str, str] = {}

        def moved(artifact: Mapping[str, Any]) -> Object:
            key = str(artifact[ARTIFACT])
            copies[key] = f"{folder}/files/{key.rpartition('/')[2]}"
            return {**artifact, ARTIFACT: copies[key]}

        found = with_artifacts(output, moved)
        for source, target in copies.items():
            await self._context.engine.payloads.copy_object(source, target, namespace=self._context.namespace)
        return found

    async def offloaded(self, value: Any, stored_as: StoredAs, owner: str, total_bytes: int, inline_bytes: int) -> Any:
        """``value``, with large parts in the object store if it is larger than ``total_bytes``."""
        if size_bytes(value) <= total_bytes:
            return value
        wanted = Offload(stored_as, self._context.namespace, owner, total_bytes, inline_bytes, _DEPTH)
        return await self._context.engine.payloads.offload(value, wanted, field="output")
