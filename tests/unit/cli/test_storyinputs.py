"""The inputs of a command line and the schema of their Story."""

from __future__ import annotations

import pytest

from cli.console import Console
from cli.inputs import parse_inputs
from cli.options import CommonOptions
from cli.problem import UsageError
from cli.storyinputs import fitting_inputs
from core.api.objects import Object

PROPERTIES = {"count": {"type": "integer"}, "place": {"properties": {"city": {}}}}


def story(**schema: object) -> Object:
    return {"metadata": {"name": "words"}, "spec": {"inputsSchema": {"properties": PROPERTIES, **schema}}}


async def test_an_input_that_the_schema_does_not_know_is_noted_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = parse_inputs(["cuont=3", "place.ctiy=Bern", "zebra=1"], None)

    fitting = await fitting_inputs(Console(CommonOptions()), story(), given, {"count": 1})

    assert fitting == {"count": 1, "cuont": 3, "place": {"ctiy": "Bern"}, "zebra": 1}
    assert capsys.readouterr().err.splitlines() == [
        "warning: input cuont is not in the inputsSchema of Story 'words': did you mean 'count'?",
        "warning: input place.ctiy is not in the inputsSchema of Story 'words': did you mean 'city'?",
        "warning: input zebra is not in the inputsSchema of Story 'words': correct the name, or add it to the schema",
    ]


async def test_an_input_that_the_schema_forbids_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match=r"\('cuont' was unexpected\); did you mean 'count'\?"):
        await fitting_inputs(
            Console(CommonOptions()), story(additionalProperties=False), parse_inputs(["cuont=3"], None)
        )


@pytest.mark.parametrize(
    "schema", [{"additionalProperties": True}, {"properties": {}}, {"patternProperties": {"c": {}}}]
)
async def test_a_schema_that_expects_further_inputs_gets_no_note(
    schema: Object, capsys: pytest.CaptureFixture[str]
) -> None:
    await fitting_inputs(Console(CommonOptions()), story(**schema), parse_inputs(["cuont=3"], None))

    assert capsys.readouterr().err == ""
