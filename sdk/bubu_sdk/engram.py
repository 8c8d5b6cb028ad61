"""The decorator that makes a function an Engram, and the rules for its signature.

    @engram
    def main(ctx: Context[Config], inputs: Inputs) -> Output: ...

    if __name__ == "__main__":
        main.run()

Both parameters are optional. The context is the parameter with the annotation ``Context`` or ``AsyncContext``, or with
the name ``ctx``. The same object describes itself (``--manifest``) and runs on a laptop (``--inputs``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, overload

from bubu_sdk.hosting import Backend
from bubu_sdk.signature import StepFunction

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    ResultT = TypeVar("ResultT", default=Any)
else:
    from typing import TypeVar

    ResultT = TypeVar("ResultT")

CONTAINER_VARIABLE = "BUBU_STEPRUN_NAME"
"""Every container of a step has this variable; its arguments are not those of a user."""


class Engram(StepFunction, Generic[ResultT]):
    """A function that does the work of one step. A call of the object calls the function, as unit tests need.

    Attributes:
        name: of the Engram and its EngramTemplate.
        image: of its containers; ``NAME:VERSION`` if none is given.
        secrets: the keys that it reads, by the logical name of their Secret.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        backend: Backend | None = None,
        *,
        name: str | None = None,
        image: str | None = None,
        version: str = "1.0.0",
        secrets: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(function, backend)
        self._name = name
        self.image = image
        self.version = version
        self.secrets = dict(secrets or {})

    @property
    def name(self) -> str:
        """The given name, else that of the function; ``main`` stands for its file.

        Raises:
            ValueError: it is no name of an object.
        """
        from bubu_sdk import naming

        return naming.checked(self._name) if self._name is not None else naming.name_of(self.function)

    def __call__(self, *arguments: Any, **keywords: Any) -> ResultT:
        result: ResultT = self.function(*arguments, **keywords)
        return result

    def run(self) -> NoReturn:
        """Run as the container: read the environment, do the work, report the outcome, and end the process.

        Outside a container, arguments of the command are read: ``--manifest`` prints EngramTemplate and Engram,
        ``--inputs`` runs the function here.
        """
        if len(sys.argv) > 1 and CONTAINER_VARIABLE not in os.environ:
            from bubu_sdk import commandline

            sys.exit(commandline.main(self, sys.argv))
        from bubu_sdk import process  # imported here, because only a container needs it

        process.run(self)


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
) -> Any:
    """Make a function an Engram.

    Args:
        backend: ``"asyncio"`` or ``"trio"`` for an ``async def``; without it, Trio if the function's module imports
            ``trio``, else asyncio. Functions written on anyio run on either.
        name: of Engram and EngramTemplate; default: that of the function, or of the file for ``main``.
        image: of the containers; default ``NAME:VERSION``.
        version: of the EngramTemplate.
        secrets: the keys that the function reads, by the logical name of their Secret.
    Raises:
        TypeError: a plain function has a backend, or its parameters are not a context and one input model.
    """

    def decorated(given: Callable[..., Any]) -> Engram[Any]:
        return Engram(given, backend, name=name, image=image, version=version, secrets=secrets)

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
