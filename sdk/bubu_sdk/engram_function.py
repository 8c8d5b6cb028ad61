"""An Engram as data: its function, its name, and what its EngramTemplate says.

What describes, runs and calls engrams is built on this module; ``engram`` puts it together for users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Protocol

from bubu_sdk.hosting import Backend
from bubu_sdk.signature import StepFunction

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    ResultT = TypeVar("ResultT", default=Any)
else:
    from typing import TypeVar

    ResultT = TypeVar("ResultT")

CONTAINER_VARIABLE = "BUBU_STEPRUN_NAME"
"""The container of one step has this variable."""
WORKER_VARIABLE = "BUBU_WORKER_POOL"
"""A container that has this variable is a worker: it runs many steps."""


def in_container(environ: Mapping[str, str]) -> bool:
    """Whether this process is a container of steps; its arguments are then not those of a user."""
    return CONTAINER_VARIABLE in environ or WORKER_VARIABLE in environ


class Builder(Protocol):
    """Builds a Story: takes the calls of engrams instead of the engrams."""

    def call(self, engram: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], settings: Any = None) -> Any:
        """Add a step; returns the placeholder of its output."""


building: ContextVar[Builder | None] = ContextVar("bubu_sdk.building", default=None)
"""The Story that is built at the moment."""


class EngramFunction(StepFunction, Generic[ResultT]):
    """A function that does the work of one step. A call of the object calls the function, as unit tests need; while a
    Story is built, it adds a step.

    Attributes:
        name: of the Engram and its EngramTemplate.
        image: of its containers; ``NAME:VERSION`` if none is given.
        secrets: the keys that it reads, by the logical name of their Secret.
        setup: called once in a process that runs steps; the steps get its result as ``ctx.setup``.
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
        setup: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(function, backend)
        if setup is not None:
            _refuse_parameters(setup)
        self.setup = setup
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
        builder = building.get()
        result: ResultT = (
            self.function(*arguments, **keywords) if builder is None else builder.call(self, arguments, keywords)
        )
        return result


def _refuse_parameters(setup: Callable[[], Any]) -> None:
    import inspect

    required = [
        each.name
        for each in inspect.signature(setup).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if required:
        name = getattr(setup, "__name__", setup)
        raise TypeError(f"setup={name}: it is called without arguments, so {required[0]!r} needs a default")
