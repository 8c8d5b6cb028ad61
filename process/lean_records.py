"""Let data classes compile their methods when these are called for the first time.

``dataclasses`` compiles the text of up to seven methods for each class, and a process that starts imports some hundred
classes: that took a third of the time of all imports of the operator. Most of these methods are never called.

The library compiles with ``exec``, and finds that name in its own module first. The ``exec`` that is put there answers
with methods that compile the text at the first call, and then replace themselves in the class. Text of an unknown form
is compiled at once, as ever, so another version of Python can at worst start slower.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Final

OUR_PACKAGES: Final = frozenset(
    {
        "bobrapet",
        "bubu_contract",
        "bubu_wire",
        "certs",
        "cli",
        "core",
        "deployment",
        "embedded",
        "hub",
        "kubewire",
        "localcluster",
        "manager",
        "process",
        "reconcilers",
        "views",
        "webhooks",
    }
)
"""Nobody asks for the signatures of these classes. The classes of a user's program are compiled at once."""
_LIBRARIES: Final = frozenset({"h2", "hypercorn", "wsproto"})

_BEGINNING: Final = "def __create_fn__("
_ENDING: Final = re.compile(r"\n return (?:(\w+)|\(((?:\w+,)+)\))\Z")
"""Python 3.11 and 3.12 compile each method alone; from 3.13 on, all of a class together."""

_Method = Callable[..., Any]


def compile_methods_when_called() -> None:
    """From now on, in this process; for data classes of ours, and of the libraries that have many."""
    vars(dataclasses)["exec"] = _deferred


def _deferred(text: str, scope: dict[str, Any] | None, into: dict[str, Any]) -> None:
    """Put a function ``__create_fn__`` into ``into``, as ``exec`` does; ``scope`` has the globals of the class."""
    ending = _ENDING.search(text)
    package = "" if scope is None else str(scope.get("__name__", "")).partition(".")[0]
    if scope is None or ending is None or not text.startswith(_BEGINNING) or package not in OUR_PACKAGES | _LIBRARIES:
        exec(text, vars(dataclasses) if scope is None else scope, into)  # noqa: S102 - what the library does itself
        return
    names = (ending[1],) if ending[1] else tuple(ending[2].rstrip(",").split(","))

    def create(**values: Any) -> _Method | tuple[_Method, ...]:
        compiled: dict[str, _Method] = {}

        def compiled_method(name: str) -> _Method:
            if not compiled:
                found: dict[str, Any] = {}
                exec(text, scope, found)  # noqa: S102
                methods = found["__create_fn__"](**values)
                compiled.update(zip(names, (methods,) if ending[1] else methods, strict=True))
            return compiled[name]

        methods = tuple(_method(name, compiled_method) for name in names)
        return methods[0] if ending[1] else methods

    into["__create_fn__"] = create


def _method(name: str, compiled_method: Callable[[str], _Method]) -> _Method:
    """A method ``name`` that compiles the real one when it is called, and puts that in its place."""

    def method(*values: Any, **named: Any) -> Any:
        real = compiled_method(name)
        real.__qualname__ = method.__qualname__
        for owner in type(values[0]).__mro__:
            if vars(owner).get(name) is method:
                setattr(owner, name, real)
        return real(*values, **named)

    method.__name__ = method.__qualname__ = name
    return method
