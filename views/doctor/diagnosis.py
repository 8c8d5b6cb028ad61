"""One answer of a check of ``bobrapet doctor``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.api.objects import Object

_SHOWN: Final = 8


class Health(StrEnum):
    """What a check has found; the values are stable, for programs."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"
    """The check could not be made; ``text`` says why."""


_WORST_FIRST: Final = (Health.PROBLEM, Health.WARNING, Health.OK, Health.SKIPPED)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``text`` is a sentence, ``remedy`` says what to do, ``commands`` are to be typed for that."""

    health: Health
    text: str
    remedy: str = ""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All answers of one check."""

    check: str
    diagnoses: tuple[Diagnosis, ...]

    @property
    def health(self) -> Health:
        return worst_health(each.health for each in self.diagnoses)


def ok(text: str) -> Diagnosis:
    return Diagnosis(Health.OK, text)


def warning(text: str, remedy: str = "", *commands: str) -> Diagnosis:
    return Diagnosis(Health.WARNING, text, remedy, commands)


def problem(text: str, remedy: str = "", *commands: str) -> Diagnosis:
    return Diagnosis(Health.PROBLEM, text, remedy, commands)


def skipped(text: str) -> Diagnosis:
    return Diagnosis(Health.SKIPPED, text)


def worst_health(found: Iterable[Health]) -> Health:
    """The worst of several; what was skipped does not count beside what was found."""
    present = set(found)
    return next((health for health in _WORST_FIRST if health in present), Health.SKIPPED)


def listed(names: Sequence[str], most: int = _SHOWN) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def document_of(results: Sequence[CheckResult]) -> Object:
    """The results as data, for programs."""
    return {
        "health": worst_health(result.health for result in results).value,
        "checks": [
            {
                "check": result.check,
                "health": result.health.value,
                "diagnoses": [
                    {
                        "health": each.health.value,
                        "text": each.text,
                        "remedy": each.remedy,
                        "commands": list(each.commands),
                    }
                    for each in result.diagnoses
                ],
            }
            for result in results
        ],
    }
