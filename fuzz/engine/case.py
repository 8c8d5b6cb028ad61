"""One case of the proof: the objects and actions of the user, and the behaviour of the containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.api.objects import Object
from fuzz.engine.actions import Action, Verb
from fuzz.engine.adapters import Engram
from fuzz.engine.answers import USUAL_TIMES, TriggerTimes
from fuzz.engine.clients.effects import Stray
from fuzz.engine.clients.submissions import Submission
from fuzz.engine.worker import Script

FIRST = "run"
"""The name of the first run, which every case has."""
_A_MOMENT = 0.001
"""After this time, everything that starts at one instant has happened."""


@dataclass(frozen=True)
class Rival:
    """Another run of the Story; the names are ``run-2``, ``run-3``, in the order of the case."""

    at: float
    """Seconds after the first run was created."""
    participant: str | None = None
    """Its ``inputs.participant``; None: the same as the first run's."""
    reuses: bool = False
    """Whether it may take outputs of the first run."""


@dataclass(frozen=True)
class Case:
    """The objects and actions of the user, and the behaviour of the containers."""

    spec: Object
    scripts: Mapping[str, tuple[Script, ...]] = field(default_factory=dict)
    engrams: Mapping[str, Engram] = field(default_factory=lambda: {"work": Engram()}, repr=False)
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cancel_after_seconds: float | None = None
    story_after_seconds: float = 0.0
    stories: Mapping[str, Object] = field(default_factory=dict)
    """Specs of the Stories that this one calls, by name."""
    actions: Sequence[Action] = ()
    rivals: Sequence[Rival] = ()
    submissions: Sequence[Submission] = ()
    """The runs that clients ask for. If there are any, nobody creates the first run."""
    strays: Sequence[Stray] = ()
    times: TriggerTimes = USUAL_TIMES

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its runs; the first run comes first."""
        if self.submissions:
            return tuple(dict.fromkeys(submission.run for submission in self.submissions))
        return (FIRST, *(f"{FIRST}-{number}" for number, _ in enumerate(self.rivals, 2)))

    @property
    def has_clients(self) -> bool:
        """Whether clients with the SDK take part."""
        performing = any(script.effect is not None for attempts in self.scripts.values() for script in attempts)
        return bool(self.submissions or self.strays or performing)

    @property
    def has_streams(self) -> bool:
        """Whether any of its Stories is realtime."""
        edited = (action.value for action in self.actions if action.verb is Verb.EDIT_STORY)
        return any(spec.get("pattern") == "realtime" for spec in (self.spec, *self.stories.values(), *edited))

    @property
    def has_company(self) -> bool:
        """Whether a process has to supervise more than the first run."""
        return bool(self.stories or self.actions or self.rivals)

    @property
    def last_action_at(self) -> float:
        longest = (
            Verb.HUB_DOWN,
            Verb.HUB_KILLED,
            Verb.CUT_OFF,
            Verb.DEAFEN,
            Verb.SERVER_DOWN,
            Verb.SERVER_FORGETS,
            Verb.SECOND_LEADER,
            Verb.KILL,
            Verb.HAND_OVER_LATE,
        )
        clients = [*(submission.at for submission in self.submissions), *(stray.at for stray in self.strays)]
        ends = [action.at + (float(action.value) if action.verb in longest else 0.0) for action in self.actions]
        last = max(
            [
                *ends,
                *clients,
                *(rival.at for rival in self.rivals),
                self.cancel_after_seconds or 0.0,
                self.story_after_seconds,
            ]
        )
        return last + _A_MOMENT if last else 0.0
