"""Stories that set how long their runs are kept, and bugs in this; ``mutants`` hunts them, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from fuzz.engine.actions import Action, Verb
from fuzz.engine.canonical import engram, primitive
from fuzz.engine.case import Case
from fuzz.engine.worker import Act, Script
from kubewire import Object
from reconcilers import retention, stored_data
from reconcilers.retention import CleanUp, KeepUntil, Remove
from reconcilers.storyrun import StoryRunReconciler


def kept(children: int, run: int) -> Mapping[str, Any]:
    """A Story's policy; in seconds."""
    return {"execution": {"job": {"ttlSecondsAfterFinished": children, "storyRunRetentionSeconds": run}}}


_CALL: Final = primitive("call", "executeStory", with_={"storyRef": {"name": "child"}})
_CHILD: Final = {"child": {"steps": [engram("k")], "policy": kept(0, 1)}}

CASES: Final[dict[str, Case]] = {
    "kept for a while": Case(
        {"steps": [_CALL, engram("a", "call")], "policy": kept(2, 30)},
        {"a": (Script(Act.FAIL, 5.7, exit_code=1, exit_class="terminal"),)},
        stories=_CHILD,
    ),
    "kept without its children": Case(
        {"steps": [engram("a"), engram("b", "a")], "policy": kept(1, 0)},
        {"b": (Script(Act.HANG, grace_seconds=0.3),)},
        actions=(Action(3.0, Verb.CANCEL),),
    ),
    "run again while its children go": Case(
        {"steps": [engram("a"), engram("b", "a")], "policy": kept(2, 9)},
        actions=(Action(7.0, Verb.REDRIVE_FROM, "b", "t"),),
    ),
    "deleted at work": Case(
        {"steps": [_CALL, engram("a")]},
        {"a": (Script(Act.HANG, grace_seconds=2.0),), "k": (Script(Act.HANG),)},
        stories=_CHILD,
        actions=(Action(2.0, Verb.DELETE_RUN),),
    ),
}


def _acts(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda sound: lambda *args, **more: change(sound(*args, **more))


def _never_cleaned(act: Any) -> Any:
    return KeepUntil(None) if isinstance(act, CleanUp) else act


def _never_removed(act: Any) -> Any:
    return KeepUntil(None) if isinstance(act, Remove) else act


def _at_once(act: Any) -> Any:
    return Remove() if isinstance(act, KeepUntil) and act.until is not None else act


def _late(act: Any) -> Any:
    late = isinstance(act, KeepUntil) and act.until is not None
    return KeepUntil(act.until + timedelta(seconds=9)) if late else act


def _children_first(sound: Any) -> Any:
    return lambda *args, is_cleaned, **more: sound(*args, is_cleaned=True, **more) if is_cleaned else CleanUp()


def _children_forgotten(sound: Any) -> Any:
    async def nothing_left(self: Any, run: Object) -> bool:
        return False

    return nothing_left


def _never_async(sound: Any) -> Any:
    async def nothing(*args: Any) -> None:
        return None

    return nothing


BUGS: Final[tuple[tuple[str, tuple[str, ...], Any, str, Callable[[Any], Any]], ...]] = (
    ("children outlive their time", ("kept without its children",), retention, "act_after", _acts(_never_cleaned)),
    ("runs outlive their time", ("kept for a while",), retention, "act_after", _acts(_never_removed)),
    ("runs go with their end", ("kept for a while",), retention, "act_after", _acts(_at_once)),
    ("runs go late", ("kept for a while",), retention, "act_after", _acts(_late)),
    ("children go with the end", ("kept for a while",), retention, "act_after", _children_first),
    ("zero seconds are none", ("kept without its children",), retention, "retention",
     lambda sound: lambda story, settings: sound(story, settings) or timedelta()),
    ("children are said to be gone that are there", ("kept without its children",), StoryRunReconciler,
     "_delete_children", _children_forgotten),
    ("called runs go before who called them", ("kept for a while",), StoryRunReconciler, "_is_needed",
     lambda sound: lambda self, run: False),
    ("a deleted run is not let go", ("deleted at work",), stored_data, "drop_finalizer",
     _never_async),
)  # fmt: skip
