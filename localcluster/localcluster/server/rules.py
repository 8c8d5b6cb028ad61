"""``x-kubernetes-validations``: CEL rules of a schema, compiled once and evaluated on an object and its predecessor.

The schema decides the types of ``self`` and ``oldSelf`` (rules_values.py). A rule that uses ``oldSelf`` is only
evaluated for values with a predecessor, unless it sets ``optionalOldSelf``. The wording follows the API server.
Not here: which errors of fields prevent the evaluation of rules (schema.py), evaluation and its limit (rules_cel.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localcluster.server import cause, rules_cel, validation_ratcheting
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.rules_values import Converter, compile_converter

Path = tuple[str | int, ...]

ABSENT: Any = object()
"""Stands for a missing predecessor; None would be a JSON null."""

RuleSet = Callable[[Any, Any, Path], list[Cause]]
"""Returns the failures of all rules at and below a value: ``(value, predecessor or ABSENT, path of the value)``."""


def compile_rules(schema: Mapping[str, Any]) -> RuleSet | None:
    """All rules at and below ``schema`` as one function; None when there are none.

    Raises:
        rules_cel.CelSyntaxError: a rule does not compile.
    """
    own = _own_rules(schema)
    below = [part for part in (_below_properties(schema), _below_values(schema), _below_items(schema)) if part]
    parts = tuple(part for part in (own, *below) if part is not None)
    if not parts:
        return None

    def check(value: Any, old: Any, path: Path) -> list[Cause]:
        if value is None:
            return []
        return [failure for part in parts for failure in part(value, old, path)]

    return check


_WHOLES = ("object", "array")
"""Types whose values a message does not quote."""


@dataclass(frozen=True)
class _Rule:
    source: str
    program: rules_cel.Program
    is_transition: bool
    optional_old: bool
    message: str
    message_program: rules_cel.Program | None
    reason: CauseReason
    field_path: Path


def parse_rule(raw: Mapping[str, Any]) -> _Rule:
    """Compile one entry of ``x-kubernetes-validations``.

    Raises:
        rules_cel.CelSyntaxError: the rule or its message expression does not compile.
    """
    optional_old = bool(raw.get("optionalOldSelf"))
    source = raw["rule"]
    expression = raw.get("messageExpression")
    return _Rule(
        source=source,
        program=rules_cel.compile_expression(source, result="bool", optional_old=optional_old),
        is_transition=rules_cel.mentions(source, "oldSelf") and not optional_old,
        optional_old=optional_old,
        message=(raw.get("message") or "").strip(),
        message_program=(
            rules_cel.compile_expression(expression, result="string", optional_old=optional_old) if expression else None
        ),
        reason=CauseReason(raw.get("reason") or CauseReason.INVALID),
        field_path=field_path_steps(raw.get("fieldPath") or ""),
    )


def _own_rules(schema: Mapping[str, Any]) -> RuleSet | None:
    rules = tuple(parse_rule(raw) for raw in schema.get("x-kubernetes-validations") or ())
    if not rules:
        return None
    convert = compile_converter(schema)
    kind = schema.get("type") or ""

    def check(value: Any, old: Any, path: Path) -> list[Cause]:
        if kind in _WHOLES and not isinstance(value, dict | list):
            return []
        # An unchanged value passed every plain rule when it was written, so only transition rules are evaluated again.
        unchanged = old is not ABSENT and old == value and bool(path)
        asked = [rule for rule in rules if _is_asked(rule, old is not ABSENT, unchanged=unchanged)]
        if not asked:
            return []
        bound = _bind(value, old, convert)
        failures = (_ask(rule, bound, value, kind, path) for rule in asked)
        return [failure for failure in failures if failure is not None]

    return check


def _is_asked(rule: _Rule, has_old: bool, *, unchanged: bool) -> bool:
    if rule.is_transition:
        return has_old
    return rule.optional_old or not unchanged


def _bind(value: Any, old: Any, convert: Converter | None) -> rules_cel.Binding:
    def shaped(raw: Any) -> Any:
        return raw if convert is None else convert(raw)

    return rules_cel.Binding(shaped(value), None if old is ABSENT else shaped(old), has_old=old is not ABSENT)


def _ask(rule: _Rule, bound: rules_cel.Binding, value: Any, kind: str, path: Path) -> Cause | None:
    field = cause.path_text((*path, *rule.field_path))
    try:
        if rule.program.evaluate(bound) is True:
            return None
    except rules_cel.CelEvaluationError as error:
        return cause.invalid(cause.path_text(path), kind, f"{error} evaluating rule: {_summary(rule)}")
    detail = _message(rule, bound)
    match rule.reason:
        case CauseReason.FORBIDDEN:
            return cause.forbidden(field, detail)
        case CauseReason.REQUIRED:
            return cause.required(field, detail)
        case CauseReason.DUPLICATE:
            return cause.duplicate_whole(field) if kind in _WHOLES else cause.duplicate(field, value)
        case _:
            return cause.invalid_whole(field, detail) if kind in _WHOLES else cause.invalid(field, value, detail)


def _message(rule: _Rule, bound: rules_cel.Binding) -> str:
    if rule.message_program is not None:
        try:
            text = rule.message_program.evaluate(bound)
        except rules_cel.CelEvaluationError:
            text = None  # the fixed message is used instead
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    return rule.message or f"failed rule: {rule.source.strip()}"


def _summary(rule: _Rule) -> str:
    return rule.message or rule.source.strip()


def field_path_steps(text: str) -> tuple[str, ...]:
    """``.spec.items['a.b']`` as steps; it has only names and no indices."""
    steps: list[str] = []
    rest = text
    while rest:
        if rest.startswith("['"):
            name, _, rest = rest[2:].partition("']")
        else:
            bare = rest.removeprefix(".")
            end = min((found for found in (bare.find("."), bare.find("[")) if found >= 0), default=len(bare))
            name, rest = bare[:end], bare[end:]
        if not name:
            break
        steps.append(name)
    return tuple(steps)


# --- below -----------------------------------------------------------------------------------------------------------


def _below_properties(schema: Mapping[str, Any]) -> RuleSet | None:
    inner = _ruled(schema.get("properties") or {})
    if not inner:
        return None

    def check(value: Any, old: Any, path: Path) -> list[Cause]:
        if not isinstance(value, dict):
            return []
        found: list[Cause] = []
        for name, rules in inner:
            if name in value:
                found += rules(value[name], _field(old, name), (*path, name))
        return found

    return check


def _below_values(schema: Mapping[str, Any]) -> RuleSet | None:
    additional = schema.get("additionalProperties")
    rules = compile_rules(additional) if isinstance(additional, Mapping) else None
    if rules is None:
        return None
    check_item = rules

    def check(value: Any, old: Any, path: Path) -> list[Cause]:
        if not isinstance(value, dict):
            return []
        return [
            failure for name, item in value.items() for failure in check_item(item, _field(old, name), (*path, name))
        ]

    return check


def _below_items(schema: Mapping[str, Any]) -> RuleSet | None:
    items = schema.get("items")
    rules = compile_rules(items) if isinstance(items, Mapping) else None
    if rules is None:
        return None
    check_item = rules

    def check(value: Any, old: Any, path: Path) -> list[Cause]:
        if not isinstance(value, list):
            return []
        found: list[Cause] = []
        for index, item in enumerate(value):
            before = None if old is ABSENT else validation_ratcheting.correlated(index, value, old, schema)
            found += check_item(item, ABSENT if before is None else before, (*path, index))
        return found

    return check


def _ruled(properties: Mapping[str, Any]) -> Sequence[tuple[str, RuleSet]]:
    return [(name, rules) for name, sub in properties.items() if (rules := compile_rules(sub)) is not None]


def _field(old: Any, name: str) -> Any:
    return old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
