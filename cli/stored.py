"""Reads outputs in the operator's object store, on the machine of the command and with the permissions of its user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cli.object_store import find_stores
from cli.outputs import RUN
from cli.problem import CommandError
from cli.session import Session
from core.expressions.paths import has_reference
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.hydrate import HydrationBounds, hydrate

_BOUNDS: Final = HydrationBounds(depth=128, object_bytes=64 << 20, total_bytes=256 << 20, references=10_000)
"""Wider than the operator's bounds, because no other user waits here."""
_REMEDY: Final = "print the references themselves with --references"


async def read_stored(session: Session, outputs: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """``outputs`` with the data instead of every storage reference. The store is only read if there are references.

    Args:
        outputs: by step, and of the run, with the names of ``cli.outputs``.
        namespace: that of the run; only objects of this namespace are read.
    Raises:
        CommandError: the store, or some objects, cannot be read; the message names each object.
    """
    if not any(has_reference(output) for output in outputs.values()):
        return dict(outputs)
    store = (await find_stores(session, remedy=_REMEDY)).of(namespace)
    whole, problems = {}, []
    for name, output in outputs.items():
        try:
            field = name if name == RUN else f"steps.{name}.output"
            whole[name] = await hydrate(output, store, namespace=namespace, field=field, bounds=_BOUNDS)
        except PayloadError as error:
            problems.append(str(error))
        except StoreUnavailableError as error:
            raise CommandError(str(error), remedy=_REMEDY) from error
    if problems:
        raise CommandError("\n".join(problems), remedy=_REMEDY)
    return whole
