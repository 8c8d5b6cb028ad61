"""The decorator that makes a function a streaming Engram, and the rules for its signature.

    @stream
    def main(ctx: StreamContext[Config], messages: Messages[Question]) -> Iterator[Answer]:
        for message in messages:
            yield Answer(message.data.text.upper())

    if __name__ == "__main__":
        main.run()

Both parameters are optional. Without messages the function is a source, without ``yield`` a sink. ``async`` functions
have ``AsyncStreamContext`` and ``AsyncMessages``.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NoReturn, overload

from bubu_sdk.hosting import Backend
from bubu_sdk.signature import Family, HostedFunction, Signature
from bubu_sdk.streaming.context import AsyncStreamContext, StreamContext, StreamKnowledge
from bubu_sdk.streaming.messages import AsyncMessages, Messages

_MESSAGES: Final = "messages (annotate them with Messages[...], or AsyncMessages[...] in an async function)"


class StreamFunction(HostedFunction):
    """A function that is a step of realtime Stories. A call of the object calls the function, as unit tests need."""

    @classmethod
    def family(cls) -> Family:
        return Family(
            *("a streaming engram", StreamKnowledge, StreamContext, AsyncStreamContext),
            takes_inputs=True,
            inputs=_MESSAGES,
        )

    def run(self) -> NoReturn:
        """Run as the container: connect to the hub, drive the function, and end the process.

        Exit codes: 0 the function has returned; 1 failure; 128 + n after signal n.
        """
        from bubu_sdk import process  # imported here, because only a container needs it

        self.answer_help("The streaming Engram")
        process.run_stream(self)

    def signature(self) -> Signature:
        """The signature; ``inputs_type`` is the type of the data of a message."""
        found = super().signature()
        if found.inputs is None:
            return found
        wanted = AsyncMessages if self.is_async else Messages
        annotation = found.inputs_type
        kind = typing.get_origin(annotation) or annotation
        if kind is Any:
            return found
        if kind is not wanted:
            raise TypeError(f"{self.__name__}: annotate {found.inputs!r} with {wanted.__name__}[...], not {kind!r}")
        arguments = typing.get_args(annotation)
        return replace(found, inputs_type=arguments[0] if arguments else Any)


@overload
def stream(function: Callable[..., Any], /) -> StreamFunction: ...
@overload
def stream(*, backend: Backend | None = None) -> Callable[[Callable[..., Any]], StreamFunction]: ...
def stream(
    function: Callable[..., Any] | None = None, /, *, backend: Backend | None = None
) -> StreamFunction | Callable[[Callable[..., Any]], StreamFunction]:
    """Make a function a streaming Engram.

    Args:
        backend: ``"asyncio"`` or ``"trio"`` for an ``async def``; without it, Trio if the function's module imports
            ``trio``, else asyncio. Functions written on anyio run on either.
    Raises:
        TypeError: a plain function has a backend, or there are more parameters than context and messages.
    """
    if function is not None:
        return StreamFunction(function)
    return lambda decorated: StreamFunction(decorated, backend)
