"""The transports that a Story declares, the steps that use them, and the hooks that steps wait for.

Source: admission contract 4.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.resource import TRANSPORT
from core.api.streaming import StreamHook
from core.api.suggestion import closest
from core.api.text import text
from core.policy.stream_problems import durable_problems
from core.policy.streaming import merged_problems, merged_settings
from core.story.step import Step
from core.story.story import Story
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import dependency, streaming

DECLARED_TWICE: Final = Rule("story/transport-taken", "4.7", CauseType.DUPLICATE)
WITHOUT_REF: Final = Rule("story/transport-ref", "4.7", CauseType.REQUIRED)
MISSING: Final = Rule("story/transport-missing", "16", CauseType.NOT_FOUND, Severity.WARNING)
UNDECLARED: Final = Rule("story/transport-undeclared", "4.7", CauseType.NOT_FOUND)
ROUTE_UNKNOWN: Final = Rule("story/route-unknown", "4.7", CauseType.NOT_FOUND)
NONE: Final = Rule("story/transports-none", "4.7", CauseType.REQUIRED)
MERGED: Final = Rule("story/transport-settings", "4.7")
LANE: Final = Rule("story/lane-unsupported", "4.7")
HOOK_UNKNOWN: Final = Rule("story/hook-unknown", "4.7", CauseType.NOT_FOUND, Severity.WARNING)

_OFFERS: Final = {"audio": "supportedAudio", "video": "supportedVideo", "binary": "supportedBinary"}
"""Kind of a lane → what a Transport that carries it declares."""
_HOOKS: Final = tuple(hook.value for hook in StreamHook)
_SUBJECTS: Final = tuple(hook.partition(".")[0] for hook in _HOOKS)
_EVENTS: Final = tuple({hook.partition(".")[2] for hook in _HOOKS})
_MAYBE_HOOK: Final = re.compile(r"""["'`]([\w-]{1,40})\.([\w.-]{1,40})["'`]""")
"""Two words with a dot between them, as a constant in an expression."""


def check(story: Story, world: ClusterView) -> Iterator[Finding]:
    """Findings about ``spec.transports``; routing rules may use the names of the Story's steps."""
    spec, seen = story.spec, dict[str, str]()
    names = list(dict.fromkeys(step.name for step in story.top()))
    if any(step.serves_stream for step in story.groups["steps"]) and not spec.get("transports"):
        message = "is required in a realtime Story: its steps are connected by a Transport"
        yield NONE.at("spec.transports", message, "add an entry with name and transportRef")
    for index, transport in enumerate(spec.get("transports") or ()):
        path, name = f"spec.transports[{index}]", text(transport.get("name"))
        if name in seen:
            yield DECLARED_TWICE.at(f"{path}.name", f"{name!r} is already used by {seen[name]}", "choose another name")
        seen.setdefault(name, path)
        target = text(transport.get("transportRef"))
        if not target:
            yield WITHOUT_REF.at(f"{path}.transportRef", "must not be blank", "name a Transport")
        else:
            found = world.find(TRANSPORT, "", target)
            if found is Unseen.MISSING:
                yield MISSING.at(f"{path}.transportRef", f"Transport {target} does not exist", "apply it")
            elif not isinstance(found, Unseen):
                yield from _beside(transport, found.get("spec") or {}, f"Transport {target}", path)
        yield from streaming.check_settings(transport.get("settings"), f"{path}.settings")
        settings = transport.get("streaming") or {}
        yield from streaming.check(settings, f"{path}.streaming")
        for position, rule in enumerate((settings.get("routing") or {}).get("rules") or ()):
            yield from _unknown_targets(rule, f"{path}.streaming.routing.rules[{position}]", names)


def _beside(declared: ReadOnlyObject, transport: ReadOnlyObject, of: str, path: str) -> Iterator[Finding]:
    """What can only be wrong together with the Transport as it is; a missing one may be applied after the Story."""
    sides = (merged_settings(transport, {}), merged_settings({}, declared))
    alone = {str(each) for side in sides for each in merged_problems(side)}
    alone -= {str(each) for each in _durable_elsewhere(merged_settings(transport, declared), declared)}
    for problem in merged_problems(merged_settings(transport, declared)):
        if str(problem) not in alone:
            message = f"merged over {of}, {problem.path} {problem.message}"
            yield MERGED.at(path, message, problem.remedy or "change one of the two")
    for index, lane in enumerate((declared.get("streaming") or {}).get("lanes") or ()):
        offer = _OFFERS.get(text(lane.get("kind")))
        if offer is not None and not transport.get(offer):
            message = f"{of} does not carry {lane['kind']}"
            yield LANE.at(f"{path}.streaming.lanes[{index}].kind", message, f"add {offer} to it, or remove the lane")


def _durable_elsewhere(merged: ReadOnlyObject, declared: ReadOnlyObject) -> Iterator[FieldError]:
    """Replay that does not exist, and that the Story's own ``streaming`` does not ask for.

    The Transport may have been stored while admission was down, or by an older version.
    """
    if not list(durable_problems(declared.get("streaming") or {}, "")):
        yield from durable_problems(merged, "")


def check_step(placed: Step, spec: ReadOnlyObject) -> Iterator[Finding]:
    """Findings if the step's transport is not declared, or if its ``if`` waits for a hook that nobody sends."""
    if placed.realtime and not placed.depth and placed.declared.get("ref"):
        yield from _unknown_hooks(str(placed.declared.get("if") or ""), f"{placed.place}.if")
    name = text(placed.declared.get("transport"))
    declared = [text(transport.get("name")) for transport in spec.get("transports") or ()]
    if name and name not in declared:
        known = f"the Story declares: {', '.join(declared)}" if declared else "declare it there"
        yield UNDECLARED.at(f"{placed.place}.transport", f"{name!r} is not declared in spec.transports", known)


def _unknown_hooks(condition: str, path: str) -> Iterator[Finding]:
    """Names that look like one of a hook, and are none. Other words with a dot are names of the steps' own."""
    for subject, event in dict.fromkeys(_MAYBE_HOOK.findall(condition)):
        name = f"{subject}.{event}"
        is_near = closest(event, _EVENTS) is not None
        if name not in _HOOKS and (subject in _SUBJECTS or (is_near and closest(subject, _SUBJECTS))):
            guess = closest(name, _HOOKS) if is_near else None
            remedy = f"did you mean {guess}?" if guess else f"the hub sends {' and '.join(_HOOKS)}"
            yield HOOK_UNKNOWN.at(path, f"{name!r} is no hook: no packet says so when a stream begins", remedy)


def _unknown_targets(rule: ReadOnlyObject, path: str, names: list[str]) -> Iterator[Finding]:
    for index, target in enumerate((rule.get("target") or {}).get("steps") or ()):
        name = text(target)
        if name and name not in names:
            remedy = dependency.remedy_for(name, names)
            yield ROUTE_UNKNOWN.at(f"{path}.target.steps[{index}]", f"there is no step {name!r}", remedy)
