"""The decorator that makes a function an Engram, and the rules for its signature.

    @engram
    def main(ctx: Context[Config], inputs: Inputs) -> Output: ...

    if __name__ == "__main__":
        main.run()

Both parameters are optional; the context is the one annotated ``Context``/``AsyncContext`` or named ``ctx``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, overload

from bubu_sdk.hosting import Backend
from bubu_sdk.signature import StepFunction


class Engram(StepFunction):
    """A function that is the work of one step. Calling it calls the function, so that unit tests stay simple."""

    def run(self) -> NoReturn:
        """Be the container: read the environment, do the work, report it, and end the process."""
        from bubu_sdk import process  # what only a container needs

        process.run(self)


@overload
def engram(function: Callable[..., Any], /) -> Engram: ...
@overload
def engram(*, backend: Backend | None = None) -> Callable[[Callable[..., Any]], Engram]: ...
def engram(
    function: Callable[..., Any] | None = None, /, *, backend: Backend | None = None
) -> Engram | Callable[[Callable[..., Any]], Engram]:
    """Make a function an Engram.

    Args:
        backend: ``"asyncio"`` or ``"trio"`` for an ``async def``; without it, Trio if the function's module imports
            ``trio``, else asyncio. Functions written on anyio run on either.
    Raises:
        TypeError: a backend for a plain function, or more parameters than context and inputs.
    """
    if function is not None:
        return Engram(function)
    return lambda decorated: Engram(decorated, backend)


def run(work: Engram | Callable[..., Any]) -> NoReturn:
    """``engram(work).run()``, for those who prefer a call to a decorator."""
    (work if isinstance(work, Engram) else Engram(work)).run()
