"""Whether the operator accepts its ConfigMap, and what in it has no effect."""

from __future__ import annotations

from collections.abc import Sequence

from cli.configuration import find_configuration
from cli.configured import ConfigRow, Configuration
from cli.doctor.context import DoctorContext
from views.doctor.diagnosis import Diagnosis, listed, ok, problem, warning


def diagnoses_of(configuration: Configuration, place: str, *, exists: bool) -> list[Diagnosis]:
    refused = [f"{row.key}: {row.error}" for row in configuration.rows if row.error]
    unused = [row for row in configuration.rows if row.warning]
    found = []
    if refused:
        found.append(
            problem(
                f"the operator refuses {place} and keeps the settings that it had: {listed(refused)}",
                "correct the values",
                "bobrapet config --changed",
            )
        )
    if unused:
        found.append(
            warning(f"keys without effect in {place}: {_named(unused)}", "look at them", "bobrapet config --changed")
        )
    if not exists:
        return [*found, ok(f"there is no {place}: the defaults are in force")]
    changed = sum(row.is_changed for row in configuration.rows)
    return found or [ok(f"{place} is valid; {changed} settings differ from their default")]


async def examine(context: DoctorContext) -> list[Diagnosis]:
    found = await find_configuration(context.session, context.installation.namespace)
    return diagnoses_of(found.configuration, found.place, exists=found.config_map is not None)


def _named(rows: Sequence[ConfigRow]) -> str:
    return listed([f"{row.key} ({row.warning})" for row in rows], 4)
