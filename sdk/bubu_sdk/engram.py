"""The decorator that makes a function an Engram, and the rules for its signature.

    @engram
    def main(ctx: Context[Config], inputs: Inputs) -> Output: ...

    if __name__ == "__main__":
        main.run()

Both parameters are optional. The context is the parameter with the annotation ``Context`` or ``AsyncContext``, or with
the name ``ctx``. The same object describes itself (``--manifest``), runs on a laptop (``--inputs``), and is a step when
it is called while a Story is built (``bubu_sdk.stories``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, overload

from bubu_sdk.engram_function import EngramFunction, in_container
from bubu_sdk.hosting import Backend

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    from bubu_sdk.stories.calls import RetryOn, StepCall

    ResultT = TypeVar("ResultT", default=Any)
else:
    from typing import TypeVar

    ResultT = TypeVar("ResultT")


class Engram(EngramFunction[ResultT]):
    """A function that does the work of one step. A call of the object calls the function, as unit tests need; while a
    Story is built, it adds a step.
    """

    def options(
        self,
        *,
        name: str | None = None,
        after: Any = (),
        retries: int | None = None,
        retry_delay: str | None = None,
        retry_on: RetryOn | Sequence[RetryOn] | None = None,
        timeout: str | None = None,
        allow_failure: bool = False,
        execution: Mapping[str, Any] | None = None,
    ) -> StepCall[ResultT]:
        """The step with further settings; call the result with the inputs.

        Args:
            name: of the step, if it is not to be that of the Engram.
            after: outputs of steps that end before this step starts, although it reads nothing of them.
            retries: attempts after the first one. Any failure is retried, unless ``retry_on`` says which.
            retry_delay: before the first retry, a Go duration.
            retry_on: which failures are retried: classes of exceptions, exit codes, ``"any"``, or ``"transient"``. Lost
                Pods, timeouts and errors that ask for another attempt are retried in any case.
            timeout: of one attempt, a Go duration.
            allow_failure: the Story continues if the step fails.
            execution: further fields of the step's ``execution``, such as ``resources``.
        """
        from bubu_sdk.stories.calls import StepCall, StepSettings

        settings = StepSettings.of(
            name=name,
            after=after,
            retries=retries,
            retry_delay=retry_delay,
            retry_on=retry_on,
            timeout=timeout,
            allow_failure=allow_failure,
            execution=execution,
        )
        return StepCall(self, settings)

    def run(self) -> NoReturn:
        """Run as the container: read the environment, do the work, report the outcome, and end the process.

        In a warm worker, do so for each step that is assigned to it.

        Outside a container, arguments of the command are read: ``--manifest`` prints EngramTemplate and Engram,
        ``--inputs`` runs the function here.
        """
        if len(sys.argv) > 1 and not in_container(os.environ):
            from bubu_sdk import commandline

            sys.exit(commandline.main(self, sys.argv))
        from bubu_sdk import container  # imported here, because only a container needs it

        container.run(self)


@overload
def engram(function: Callable[..., Coroutine[Any, Any, Any]], /) -> Engram[Any]: ...
@overload
def engram(function: Callable[..., ResultT], /) -> Engram[ResultT]: ...
@overload
def engram(
    *,
    backend: Backend | None = None,
    name: str | None = None,
    image: str | None = None,
    version: str = "1.0.0",
    secrets: Mapping[str, Sequence[str]] | None = None,
    setup: Callable[[], Any] | None = None,
) -> Decorator: ...
def engram(
    function: Callable[..., Any] | None = None,
    /,
    *,
    backend: Backend | None = None,
    name: str | None = None,
    image: str | None = None,
    version: str = "1.0.0",
    secrets: Mapping[str, Sequence[str]] | None = None,
    setup: Callable[[], Any] | None = None,
) -> Any:
    """Make a function an Engram.

    Args:
        backend: ``"asyncio"`` or ``"trio"`` for an ``async def``; without it, Trio if the function's module imports
            ``trio``, else asyncio. Functions written on anyio run on either.
        name: of Engram and EngramTemplate; default: that of the function, or of the file for ``main``.
        image: of the containers; default ``NAME:VERSION``.
        version: of the EngramTemplate.
        secrets: the keys that the function reads, by the logical name of their Secret.
        setup: loads what is the same for all steps, for example a model. Called without arguments, once in a process:
            a warm worker calls it before its first step, a Job before its only one. ``ctx.setup`` is its result. An
            ``async def`` runs in a loop of its own, which has ended when the function starts.
    Raises:
        TypeError: a plain function has a backend, its parameters are not a context and one input model, or ``setup``
            requires an argument.
    """

    def decorated(given: Callable[..., Any]) -> Engram[Any]:
        return Engram(given, backend, name=name, image=image, version=version, secrets=secrets, setup=setup)

    return decorated if function is None else decorated(function)


class Decorator(Protocol):
    """``engram`` with arguments."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, Any]], /) -> Engram[Any]: ...
    @overload
    def __call__(self, function: Callable[..., ResultT], /) -> Engram[ResultT]: ...


def run(work: Engram | Callable[..., Any]) -> NoReturn:
    """The same as ``engram(work).run()``, as a call instead of a decorator."""
    (work if isinstance(work, Engram) else Engram(work)).run()
