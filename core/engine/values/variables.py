"""The variables of templates: ``inputs`` and ``steps``, kept up to date from the StepRuns.

An output appears only once a StepRun's result is checked and recorded, in exactly the version in which it became
Succeeded; signals appear in any phase. Source: StoryRun contract 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bubu_contract import identity
from core.api.objects import Object, step_path
from core.api.phases import Phase
from core.api.unreadable import unreadable
from core.engine.step.record import is_final

FOLDED_FROM_BYTES: Final = 8 << 10
"""Size of one step's variables from which they are kept as text; twice the default limit of inline output."""


class Variables:
    """The template variables of one run. ``changed`` is called after each change of their values."""

    def __init__(self, inputs: Mapping[str, Any], changed: Callable[[], None] = lambda: None) -> None:
        self.inputs = inputs
        self._changed = changed
        self._steps: dict[str, dict[str, Any] | _Folded] = {}
        """By full name, in the order in which the steps were first seen."""
        self._shown: _Shown | None = None
        """What the next snapshot shows; None: it must be looked up. Loops may have thousands of steps, and take several
        snapshots for each of them.
        """
        self._seen: Mapping[str, Any] | None = None
        """The last snapshot while it is valid."""

    def remember(self, step_run: Object, *, has_ended: bool = False) -> None:
        """Store the values that this version of a StepRun shows.

        ``has_ended``: the run records the end of the step. The Go operator takes the end from the container and leaves
        the conditions of the StepRun as they are.
        """
        status = step_run.get("status") or {}
        entry: dict[str, Any] = {}
        if has_ended or is_final(status):
            entry = _outputs(status)
        signals = status.get("signals")
        if isinstance(signals, Mapping) and signals:
            entry["signals"] = _nested(signals)
        name = step_path(step_run)
        if unreadable(step_run) is not None and (not name or name in self._steps):
            return  # keep what was read while it was readable
        self._set(name, entry)

    def give(self, name: str, output: Mapping[str, Any]) -> None:
        """Set the output of a step that has no StepRun of its own."""
        self._set(name, {"output": output, "outputs": output})

    def output_of(self, name: str) -> Mapping[str, Any]:
        """The output of a step; empty if it has none."""
        output = _unfolded(self._steps.get(name, {})).get("output")
        return output if isinstance(output, Mapping) else {}

    def snapshot(self) -> Mapping[str, Any]:
        """``{"inputs": …, "steps": …}`` as of now; it is shared: do not change it.

        A step is also listed under its underscore alias, and a branch under the last part of its name, if that name is
        free.
        """
        if self._seen is not None:
            return self._seen
        if self._shown is None:
            self._shown = _Shown(self._steps)
        found = {"inputs": self.inputs, "steps": self._shown.steps()}
        if not self._shown.is_folded:  # else what is large would stay parsed
            self._seen = found
        return found

    def _set(self, name: str, entry: dict[str, Any]) -> None:
        folded = _folded(entry)
        if self._steps.get(name, {}) == folded:
            return
        if entry:
            self._steps[name] = folded
        else:
            self._steps.pop(name, None)
        if self._shown is not None and not self._shown.takes(name, folded):
            self._shown = None
        self._seen = None
        self._changed()


@dataclass(frozen=True, slots=True)
class _Folded:
    """The variables of a step as text: large data may take thirty times as much memory once it is parsed."""

    text: bytes
    has_output: bool

    def unfolded(self) -> dict[str, Any]:
        entry: dict[str, Any] = orjson.loads(self.text)
        return entry | {"outputs": entry["output"]} if self.has_output else entry


class _Shown:
    """The names under which a snapshot shows variables: steps, then the last parts of the names of branches, as far as
    they are free, then the aliases of both, as far as those are.
    """

    def __init__(self, steps: Mapping[str, dict[str, Any] | _Folded]) -> None:
        self._owners = {name: name for name in steps if "/" not in name}
        """Name → full name of the step."""
        for full in steps:
            self._owners.setdefault(full.rpartition("/")[2], full)
        self._named = {name: steps[full] for name, full in self._owners.items()}
        self._aliases: dict[str, str] = {}
        """Alias → name."""
        for name in self._named:
            self._give_alias(name)
        self.is_folded = any(isinstance(entry, _Folded) for entry in self._named.values())

    def steps(self) -> dict[str, Any]:
        named = {name: _unfolded(entry) for name, entry in self._named.items()} if self.is_folded else self._named
        return {**named, **{alias: named[name] for alias, name in self._aliases.items()}}

    def takes(self, full: str, entry: dict[str, Any] | _Folded) -> bool:
        """Show a change of the variables of a step; False: this must be made again, because names change hands."""
        name = full.rpartition("/")[2]
        owner = self._owners.get(name)
        if owner is None and (name == full or name in self._aliases):
            return not entry
        if owner not in (None, full):
            return name != full  # a step takes its name from a branch
        if not entry:
            return owner is None
        if owner is None:
            self._owners[name] = full
            self._give_alias(name)
        self._named[name] = entry
        self.is_folded = self.is_folded or isinstance(entry, _Folded)
        return True

    def _give_alias(self, name: str) -> None:
        alias = identity.step_alias(name)
        if alias not in self._named:
            self._aliases.setdefault(alias, name)


def _folded(entry: dict[str, Any]) -> dict[str, Any] | _Folded:
    try:
        text = orjson.dumps({key: value for key, value in entry.items() if key != "outputs"})
    except TypeError:
        return entry  # an expression can produce a number that JSON cannot represent
    return entry if len(text) < FOLDED_FROM_BYTES else _Folded(text, "output" in entry)


def _unfolded(entry: dict[str, Any] | _Folded) -> dict[str, Any]:
    return entry.unfolded() if isinstance(entry, _Folded) else entry


def _outputs(status: Mapping[str, Any]) -> dict[str, Any]:
    match status.get("phase"):
        case Phase.SUCCEEDED:
            output = status.get("output")
            output = output if isinstance(output, Mapping) else {}
        case Phase.SKIPPED:
            output = {}
        case _:
            return {}
    return {"output": output, "outputs": output}


def _nested(signals: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` → ``{"a": {"b": 1}}``; of two values at one place, the one with the higher ``seq`` stays."""
    root: dict[str, Any] = {}
    for key, value in signals.items():
        place = root
        *parents, leaf = str(key).split(".")
        for parent in parents:
            child = place.get(parent)
            if not isinstance(child, dict):
                child = place[parent] = {}
            place = child
        if not _is_older(value, place.get(leaf)):
            place[leaf] = dict(value) if isinstance(value, Mapping) else value
    return root


def _is_older(value: Any, current: Any) -> bool:
    new, old = _sequence(value), _sequence(current)
    return new is not None and old is not None and new < old


def _sequence(value: Any) -> float | None:
    raw = value.get("seq") if isinstance(value, Mapping) else None
    try:
        return float(raw) if isinstance(raw, int | float | str) and not isinstance(raw, bool) else None
    except ValueError:
        return None
