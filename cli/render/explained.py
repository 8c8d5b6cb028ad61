"""The explanation of a step for people: a table of values and their layers, then what is different in the Job. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from cli.render.progress import Styled
from views.explain.facts import ExplainedValue, StepExplanation

_CUT_CHARACTERS: Final = 60
_UNKNOWN: Final = "unknown"
_NOT_SET: Final = "-"


def lines_of(explanation: StepExplanation, *, wide: bool, no_headers: bool = False) -> list[Styled]:
    """The lines; unless ``wide``, values are cut after 60 characters."""
    name = f"{explanation.run}/{explanation.step}"
    lines: list[Styled] = []
    if not no_headers:
        lines = [
            (f"{name}  {explanation.state}", "bold"),
            (f"Engram {explanation.engram}, EngramTemplate {explanation.template or _NOT_SET}", ""),
        ]
    lines += [(f"problem: {problem}", "red") for problem in explanation.problems]
    if explanation.values:
        lines += [("", "")] if lines else []
        lines += _table(explanation, wide=wide, no_headers=no_headers)
    footer = [*_differences(explanation), *((f"note: {note}", "yellow") for note in explanation.notes)]
    if explanation.unseen:
        text = f"this answer may be incomplete: you may not read {', '.join(explanation.unseen)}"
        footer.append((text, "yellow"))
    return [*lines, ("", ""), *footer] if footer else lines


def _table(explanation: StepExplanation, *, wide: bool, no_headers: bool) -> Iterator[Styled]:
    shows_job = any(_shows_job_value(value) for value in explanation.values)
    headers = ["SETTING", "VALUE", "FROM", *(["IN THE JOB"] if shows_job else [])]
    rows = [(_cells(value, wide=wide, shows_job=shows_job), value.differs) for value in explanation.values]
    everything = [] if no_headers else [headers]
    everything += [cells for cells, _ in rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(headers))]
    if not no_headers:
        yield _row(headers, widths), ""
    for cells, differs in rows:
        yield _row(cells, widths), "yellow" if differs else ""


def _row(cells: list[str], widths: list[int]) -> str:
    return "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cells(value: ExplainedValue, *, wide: bool, shows_job: bool) -> list[str]:
    is_unknown = not value.is_known and value.value is None
    own = _UNKNOWN if is_unknown else _text(value.setting, value.value)
    in_job = _text(value.setting, value.in_job) if _shows_job_value(value) else ""
    own, in_job = (own, in_job) if wide else (_cut(own), _cut(in_job))
    return [value.setting, own, value.source, *([in_job] if shows_job else [])]


def _shows_job_value(value: ExplainedValue) -> bool:
    """Whether the Job has a value that the table does not show otherwise."""
    return value.differs or (not value.is_known and value.in_job is not None)


def _differences(explanation: StepExplanation) -> Iterator[Styled]:
    for value in explanation.differing:
        holder = "StepRun" if value.setting.startswith("retry.") else "Job"
        has = _text(value.setting, value.in_job)
        has = f"{has} for {value.setting}" if value.in_job is not None else f"no {value.setting}"
        yield f"the {holder} has {has}: {value.why}", "yellow"


def _cut(text: str) -> str:
    return text if len(text) <= _CUT_CHARACTERS else f"{text[: _CUT_CHARACTERS - 3]}..."


def _text(setting: str, value: Any) -> str:
    if value is None:
        return _NOT_SET
    if setting.startswith("volumes.") and isinstance(value, dict):
        return _volume(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _volume(value: dict[str, Any]) -> str:
    """``persistentVolumeClaim models at /models, read-only``."""
    source = next((key for key in ("persistentVolumeClaim", "configMap", "emptyDir") if key in value), "volume")
    block = value.get(source) or {}
    name = block.get("claimName") or block.get("name") or ""
    limits = [str(block[key]) for key in ("medium", "sizeLimit") if block.get(key)]
    words = " ".join([source, *([name] if name else []), *([f"({', '.join(limits)})"] if limits else [])])
    parts = [f"{words} at {value.get('mountPath', '?')}"]
    parts += [f"path {value['subPath']}"] if value.get("subPath") else []
    parts += ["read-only"] if value.get("readOnly") or source == "configMap" else []
    return ", ".join(parts)
