"""The decorator that makes a function an Engram, and the rules for its signature.

    @engram
    def main(ctx: Context[Config], inputs: Inputs) -> Output: ...

    if __name__ == "__main__":
        main.run()

Both parameters are optional. The context is the parameter with the annotation ``Context`` or ``AsyncContext``, or with
the name ``ctx``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, overload

from bubu_sdk.hosting import Backend
from bubu_sdk.signature import StepFunction


class Engram(StepFunction):
    """A function that does the work of one step. A call of the object calls the function, as unit tests need."""

    def run(self) -> NoReturn:
        """Run as the container: read the environment, do the work, report the outcome, and end the process."""
        from bubu_sdk import process  # imported here, because only a container needs it

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
        TypeError: a plain function has a backend, or there are more parameters than context and inputs.
    """
    if function is not None:
        return Engram(function)
    return lambda decorated: Engram(decorated, backend)


def run(work: Engram | Callable[..., Any]) -> NoReturn:
    """The same as ``engram(work).run()``, as a call instead of a decorator."""
    (work if isinstance(work, Engram) else Engram(work)).run()
