"""Checks a run's inputs with the schema of its Story: asks for missing inputs, refuses invalid ones, warns of unknown
ones.
"""

from __future__ import annotations

from typing import Any

from cli.console import Console
from cli.inputs import GivenInputs, read_value
from cli.problem import UsageError
from core.api.objects import Object


async def fitting_inputs(console: Console, story: Object, given: GivenInputs, earlier: Object | None = None) -> Object:
    """The inputs of a run of ``story``, and what a person at the terminal adds; in a pipe, no questions are asked.

    Args:
        earlier: inputs into which ``given`` are merged.

    Raises:
        UsageError: they do not match the Story's ``inputsSchema``, so the run would fail; has every problem.
    """
    schema = (story.get("spec") or {}).get("inputsSchema")
    inputs = given.over(earlier or {}, schema)
    for sentence in given.unclear(schema):
        console.note(sentence)
    if not isinstance(schema, dict):
        return inputs
    # Costly, and many Stories declare no schema.
    from core.evaluation.schema import apply_schema_defaults
    from webhooks.validate.described import unknown_names

    complete = apply_schema_defaults(schema, inputs)
    missing = [key for key in schema.get("required") or () if key not in complete]
    name = story["metadata"]["name"]
    if missing and console.can_ask:
        console.note(f"Story {name!r} needs {', '.join(missing)}; press Ctrl-C to stop without starting a run")
        inputs = {**inputs, **{key: await _asked(console, key, schema) for key in missing}}
    problems = await _problems(schema, inputs)
    if problems:
        raise UsageError(
            "\n".join([f"the inputs do not fit Story {name!r}:", *(f"  inputs: {problem}" for problem in problems)]),
            remedy="give them with -i key=value (key:=value is always a string) or --inputs FILE",
        )
    for unknown in unknown_names(schema, inputs, "inputs"):
        place = unknown.place.removeprefix("inputs.")
        console.note(f"warning: input {place} is not in the inputsSchema of Story {name!r}: {unknown.remedy}")
    return inputs


async def _asked(console: Console, key: str, schema: Object) -> Any:
    """Ask until the answer is valid.

    Raises:
        UsageError: the person ended the input instead.
    """
    declared = (schema.get("properties") or {}).get(key)
    declared = declared if isinstance(declared, dict) else {}
    while True:
        answer = await console.ask(f"{key}{_explained(declared)}: ")
        if answer is None:
            raise UsageError(f"the input {key!r} is missing", remedy=f"give it with -i {key}=…")
        if not answer:
            continue
        value = read_value(answer, declared)
        problems = await _problems({"type": "object", "properties": {key: declared}}, {key: value})
        if not problems:
            return value
        console.note("\n".join(f"  {problem}" for problem in problems))


def _explained(declared: Object) -> str:
    facts = [str(declared[name]) for name in ("type", "description") if isinstance(declared.get(name), str)]
    if isinstance(declared.get("enum"), list):
        facts.append(f"one of {', '.join(map(str, declared['enum']))}")
    return f" ({'; '.join(facts)})" if facts else ""


async def _problems(schema: Object, inputs: Object) -> list[str]:
    # Costly, and many Stories declare no schema.
    from core.evaluation.schema import apply_schema_defaults
    from core.evaluation.validation import SchemaValidator

    return [str(problem) for problem in await SchemaValidator().problems(schema, apply_schema_defaults(schema, inputs))]
