"""Every limit of an evaluation has a key in the operator's ConfigMap. The error names the key with field and place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from core.evaluation.evaluator import Answer, Evaluator, Failure, Value
from core.expressions.errors import LIMIT_SETTINGS
from core.policy.config import parse_config
from core.policy.config_keys import KEYS
from core.policy.settings import OperatorSettings
from manager.evaluation import evaluator_of

_INPUTS: dict[str, Any] = {"l": list(range(2_000)), "s": "s" * 2_000, "deep": [[[[1]]]]}
_DEFINED = '{{ define "a" }}{{ template "b" }}{{ end }}{{ define "b" }}x{{ end }}{{ template "a" }}'
_BINDINGS = [f"cel.bind(v{n}, v{n - 1} + v{n - 1}, " for n in range(1, 15)]
_HUNGRY = "".join(_BINDINGS).replace("v0", "(inputs.s + inputs.s)") + "v14.contains(v13 + 'b'))" + ")" * 13

LIMITS = {
    "steps": ("templating.max-steps", "1000", "{{ range inputs.l }}{{ end }}"),
    "output_bytes": ("templating.max-output-bytes", "50", "ab {{ repeat 60 `x` }}"),
    "text_bytes": ("templating.max-output-bytes", "300000", "ab {{ repeat 1300000 `x` | len }}"),
    "wall_seconds": ("templating.evaluation-timeout", "1ms", "{{ range until 9999 }}{{ range 9 }}{{ end }}{{ end }}"),
    "input_bytes": ("templating.max-input-bytes", "1024", "size(inputs.s) > 0"),
    "depth": ("templating.max-depth", "3", "size(inputs.deep) > 0"),
    "include_depth": ("templating.max-include-depth", "1", _DEFINED),
    "collection_items": ("templating.max-collection-items", "10", "ab {{ append inputs.l 1 | len }}"),
    "range_items": ("templating.max-range-items", "10", "ab {{ range 11 }}{{ end }}"),
    "worker_time": ("templating.worker-timeout", "1s", _HUNGRY),
    "worker_memory": (
        "templating.worker-memory-bytes",
        str(256 << 20),
        _HUNGRY.replace("inputs.s", "inputs.s + inputs.s"),
    ),
}


def _settings(data: dict[str, str]) -> OperatorSettings:
    settings = parse_config(data).settings
    assert settings is not None
    return settings


async def _ask(evaluator: Evaluator, text: str) -> Answer:
    variables = {"inputs": _INPUTS, "steps": {}}
    if "{{" in text:
        return await evaluator.resolve({"a": text}, variables, field="with")
    return await evaluator.condition(text, variables, field="if")


def test_every_limit_is_tried_and_its_key_exists() -> None:
    assert {limit: key for limit, (key, _, _) in LIMITS.items()} == dict(LIMIT_SETTINGS)
    assert set(LIMIT_SETTINGS.values()) <= KEYS.keys()


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_limit_is_set_by_its_key_and_named_with_field_and_place(limit: str) -> None:
    key, value, text = LIMITS[limit]
    settings = _settings({key: value})
    evaluator = evaluator_of(lambda: settings, lambda: datetime(2026, 1, 1, tzinfo=UTC))

    answer = await _ask(evaluator, text)

    assert isinstance(answer, Failure)
    assert answer.cause is not None
    assert (answer.cause.kind, answer.cause.field) == ("limit", "with.a" if "{{" in text else "if")
    assert answer.cause.position is not None
    assert key in answer.message
    assert answer.message.startswith(f"{answer.cause.field}: ")
    assert "(line 1, column " in answer.message


async def test_a_change_counts_from_the_next_evaluation() -> None:
    current = OperatorSettings()
    evaluator = evaluator_of(lambda: current, lambda: datetime(2026, 1, 1, tzinfo=UTC))

    first = await _ask(evaluator, "{{ uuidv4 }}")
    current = _settings({"templating.deterministic": "true", "templating.max-range-items": "20000"})
    second, third = await _ask(evaluator, "{{ uuidv4 }}"), await _ask(evaluator, "{{ range 15000 }}{{ end }}")

    assert isinstance(first, Value)
    assert isinstance(second, Failure)
    assert isinstance(third, Value)


@pytest.mark.parametrize(("data", "value"), [({}, None), ({"templating.missing-key": "text"}, "x<no value>")])
async def test_a_missing_key_fails_or_is_text(data: dict[str, str], value: str | None) -> None:
    answer = await _ask(
        evaluator_of(lambda: _settings(data), lambda: datetime(2026, 1, 1, tzinfo=UTC)), "x{{ inputs.nope }}"
    )

    if value is None:
        assert isinstance(answer, Failure)
        assert answer.message.startswith("with.a: inputs.nope is missing (line 1, column 5)")
    else:
        assert answer == Value({"a": value})
