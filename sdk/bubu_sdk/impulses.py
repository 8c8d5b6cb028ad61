"""The decorator that makes a function an Impulse, and the rules for its signature.

    @impulse
    def main(ctx: ImpulseContext[Config]) -> None:
        while not ctx.cancelled.wait(60):
            ctx.trigger(inputs={"city": ctx.config.city})

    if __name__ == "__main__":
        main.run()

The parameter is optional. It has the annotation ``ImpulseContext`` or ``AsyncImpulseContext``, or the name ``ctx``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, overload

from bubu_sdk.hosting import Backend
from bubu_sdk.impulse_context import AsyncImpulseContext, ImpulseContext, ImpulseKnowledge
from bubu_sdk.signature import Family, HostedFunction


class Impulse(HostedFunction):
    """A function that receives events and starts Stories. A call of the object calls the function."""

    @classmethod
    def family(cls) -> Family:
        return Family("an impulse", ImpulseKnowledge, ImpulseContext, AsyncImpulseContext, takes_inputs=False)

    def run(self) -> NoReturn:
        """Run as the container: read the environment, call the function until it returns, and end the process."""
        from bubu_sdk import process  # imported here, because only a container needs it

        self.answer_help("The Impulse")
        process.run_impulse(self)


@overload
def impulse(function: Callable[..., Any], /) -> Impulse: ...
@overload
def impulse(*, backend: Backend | None = None) -> Callable[[Callable[..., Any]], Impulse]: ...
def impulse(
    function: Callable[..., Any] | None = None, /, *, backend: Backend | None = None
) -> Impulse | Callable[[Callable[..., Any]], Impulse]:
    """Make a function an Impulse.

    Args:
        backend: ``"asyncio"`` or ``"trio"`` for an ``async def``; without it, Trio if the function's module imports
            ``trio``, else asyncio. Functions written on anyio run on either.
    Raises:
        TypeError: a plain function has a backend, or there is a parameter beside the context.
    """
    if function is not None:
        return Impulse(function)
    return lambda decorated: Impulse(decorated, backend)
