"""Findings of ``lint`` for people, programs, code scanning and pull requests.

Sources: SARIF 2.1.0 (OASIS); workflow commands of GitHub Actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Final
from urllib.parse import quote

from cli.linting import ALL_RULES, Located
from cli.render.output import json_text
from core.api.objects import Object
from webhooks.finding import Rule, Severity

Style = Callable[[str, str], str]
"""A text and the name of a colour → the text to write."""

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_INFORMATION: Final = "https://github.com/bubustack/bobrapet-py/blob/main/docs/lint.md"
_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow"}
_MAX_EXCERPT: Final = 160


def text(findings: Sequence[Located], styled: Style, lines: Mapping[str, Sequence[str]] | None = None) -> str:
    """One line for each finding; with ``lines`` of the files, also the line itself, with a mark below the place."""
    written = []
    for found in findings:
        line, column = found.place
        severity = styled(f"{found.finding.severity.value}:", _COLOURS[found.finding.severity])
        written.append(f"{found.file}:{line}:{column}: {severity} {_format(found)} [{found.finding.rule.id}]")
        if lines is not None:
            written += _excerpt(found, lines.get(found.file, ()), styled)
    return "\n".join(written)


def as_json(findings: Sequence[Located]) -> str:
    """An object with all findings, and the number for each severity."""
    document = {"findings": [_document(found) for found in findings], **counts(findings)}
    return json_text(document, indent=2)


def github(findings: Sequence[Located]) -> str:
    """Workflow commands, which annotate the files of a pull request."""
    return "\n".join(map(_command, findings))


def sarif(findings: Sequence[Located], version: str) -> str:
    """A log of one run; ``version`` is that of this tool."""
    places = {rule.id: index for index, rule in enumerate(ALL_RULES)}
    driver = {
        "name": "bobrapet lint",
        "semanticVersion": version,
        "informationUri": _INFORMATION,
        "rules": [_rule(rule) for rule in ALL_RULES],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(found, places[found.finding.rule.id]) for found in findings],
    }
    return json_text({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def counts(findings: Sequence[Located]) -> dict[str, int]:
    """The numbers of ``errors`` and ``warnings``."""
    errors = sum(found.finding.severity is Severity.ERROR for found in findings)
    return {"errors": errors, "warnings": len(findings) - errors}


def _format(found: Located) -> str:
    finding = found.finding
    text = f"{finding.path}: {finding.message}" if finding.path else finding.message
    return " ".join((f"{text} ({finding.remedy})" if finding.remedy else text).split())


def _excerpt(found: Located, lines: Sequence[str], styled: Style) -> list[str]:
    """Line and mark; empty if the line is missing, blank or too long."""
    number, column = found.place
    line = lines[number - 1] if number <= len(lines) else ""
    if not line.strip() or len(line) > _MAX_EXCERPT:
        return []
    gutter = f"{number:>6} | "
    before = "".join("\t" if letter == "\t" else " " for letter in line[: column - 1])
    colour = _COLOURS[found.finding.severity]
    return [f"{gutter}{line}", f"{' ' * (len(gutter) - 2)}| {before}{styled('^', colour)}"]


def _document(found: Located) -> Object:
    finding, (line, column), document = found.finding, found.place, found.document
    about = {"kind": document.kind, "namespace": document.namespace, "name": document.name} if document else {}
    return {
        "file": found.file,
        "line": line,
        "column": column,
        "severity": finding.severity.value,
        "rule": finding.rule.id,
        **about,
        "field": finding.path,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _command(found: Located) -> str:
    line, column = found.place
    title = found.finding.rule.id
    given = {"file": found.file, "line": line, "col": column, "title": title}
    properties = ",".join(f"{key}={_property(str(value))}" for key, value in given.items())
    return f"::{found.finding.severity.value} {properties}::{_data(_format(found))}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def _rule(rule: Rule) -> Object:
    kind, _, what = rule.id.partition("/")
    words = f"{kind}: {what.replace('-', ' ')}"
    about = f"Section {rule.section} of the admission contract." if rule.section else "About the file itself."
    return {
        "id": rule.id,
        "shortDescription": {"text": words},
        "help": {"text": f"{about} Each finding names the problem and the remedy. See {_INFORMATION}."},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(found: Located, rule_index: int) -> Object:
    line, column = found.place
    location: Object = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(found.file)},
            "region": {"startLine": line, "startColumn": column},
        }
    }
    if found.finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": found.finding.path}]
    return {
        "ruleId": found.finding.rule.id,
        "ruleIndex": rule_index,
        "level": found.finding.severity.value,
        "message": {"text": _format(found)},
        "locations": [location],
    }


def _uri(file: str) -> str:
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="replace")
