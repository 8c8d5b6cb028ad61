"""Payloads that are too large, and steps that would never end: policy ``limits``.

For a payload the lengths of the strings on the first level are added up; the sum is never more than its size as JSON.
Source: admission contract 2 and 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import STEP_LISTS
from core.api.resource import ENGRAM, IMPULSE, STORY, STORY_RUN, Resource
from core.policy.settings import OperatorSettings
from deployment.permissions.roles import Installation
from deployment.policies.exemptions import NOT_DELETED, SPEC_CHANGED
from deployment.policies.policy import CREATE, SPECS, UPDATE, Check, Policy
from webhooks.validate import steps, storyrun, template_use

_BUILT_IN: Final = OperatorSettings()
_LIMITS: Final = {
    "inputsBytes": ("storyrun.max-inline-inputs-size", _BUILT_IN.runs.max_inline_inputs_size_bytes, 1),
    "withBytes": ("engram.default-max-inline-size", _BUILT_IN.engram.max_inline_size_bytes, 1),
    "stepBytes": ("controller.max-story-with-block-size-bytes", _BUILT_IN.max_story_with_block_size_bytes, 1024),
}
"""Variable → key of the operator's ConfigMap, default value, and the smallest value that the operator accepts."""
_WAITS: Final = "['wait', 'gate']"
_STREAMS: Final = (
    "!has(variables.now.pattern) || variables.now.pattern != 'realtime' || !has(variables.now.steps)"
    f" || variables.now.steps.all(s, !has(s.type) || (!(s.type in {_WAITS}) && (s.type != 'parallel' || !has(s.with)"
    " || !has(s.with.steps) || type(s.with.steps) != list"
    f" || s.with.steps.all(b, type(b) != map || !has(b.type) || type(b.type) != string || !(b.type in {_WAITS})))))"
)


def policy(_: Installation) -> Policy:
    """Without the ConfigMap, this policy refuses nothing; the admission server then uses the built-in limits."""
    return Policy(
        "limits",
        "Payloads beyond the operator's limits, and steps that would block a stream, are refused.",
        tuple(_checks()),
        (NOT_DELETED, SPEC_CHANGED),
        SPECS | {name: _limit(*limit) for name, limit in _LIMITS.items()},
        reads_settings=True,
    )


def _checks() -> Iterator[Check]:
    yield _payload(STORY_RUN, "inputs", "inputsBytes", storyrun.INPUTS_SIZE.id, (CREATE,))
    yield _payload(ENGRAM, "with", "withBytes", template_use.WITH_SIZE.id)
    yield _payload(IMPULSE, "with", "withBytes", template_use.WITH_SIZE.id)
    yield _payload(IMPULSE, "mapping", "withBytes", template_use.WITH_SIZE.id)
    for name in STEP_LISTS:
        each = f"!has(s.with) || {_size('s.with')} <= variables.stepBytes"
        yield Check(
            STORY,
            f"!has(variables.now.{name}) || variables.now.{name}.all(s, {each})",
            f"spec.{name}[].with: {_too_large('stepBytes')}",
            (steps.WITH_SIZE.id,),
        )
    yield Check(
        STORY,
        _STREAMS,
        "spec.steps[].type: wait and gate are not possible in a realtime Story (use pattern: batch)",
        (steps.STREAMING_TYPE.id,),
    )


def _payload(
    target: Resource, field: str, limit: str, rule: str, operations: tuple[str, ...] = (CREATE, UPDATE)
) -> Check:
    expression = f"!has(variables.now.{field}) || {_size(f'variables.now.{field}')} <= variables.{limit}"
    return Check(target, expression, f"spec.{field}: {_too_large(limit)}", (rule,), operations)


def _too_large(limit: str) -> str:
    return f"is larger than {_LIMITS[limit][0]} allows (keep large data in storage and give a reference to it)"


def _size(path: str) -> str:
    """The number of characters in the keys and strings on the first level below ``path``."""
    return f"size({path}.map(k, type({path}[k]) == string ? k + {path}[k] : k).join(''))"


def _limit(key: str, built_in: int, least: int) -> str:
    """The limit as CEL: unlimited for a value that the operator refuses, because the limit in force is unknown here."""
    given = f"params.data['{key}'].trim()"
    largest = 2**31 - 1
    return (
        f"!has(params.data) || !('{key}' in params.data) ? {built_in} :"
        f" {given}.matches('^[0-9]{{1,9}}$') && int({given}) >= {least} ? int({given}) : {largest}"
    )
