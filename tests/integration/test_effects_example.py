"""The Story of examples/effects: one charge, although the step is killed between the charge and its record."""

from __future__ import annotations

import json

import pytest

from tests.integration.commandline import REPOSITORY, CommandLine

EFFECTS = REPOSITORY / "examples" / "effects"


@pytest.fixture
def line(example_line: CommandLine) -> CommandLine:
    assert example_line.quick("up", f"--image-map={EFFECTS / 'images.yaml'}").code == 0
    return example_line


def test_a_step_that_is_killed_after_the_charge_takes_its_effect_over_and_charges_nothing(line: CommandLine) -> None:
    service = line.folder / "payments.jsonl"
    given = (f"--input=payments={service}", "--input=order=A-17", "--input=crash=after", "--input=lease=2")
    done = line.quick("run", f"{EFFECTS / 'manifests.yaml'}", "--local", "-ojson", *given)
    assert done.code == 0, done.err
    output = json.loads(done.out)

    calls = [json.loads(text) for text in service.read_text().splitlines()]
    assert [call["charged"] for call in calls] == [True, False]
    assert len({call["key"] for call in calls}) == 1
    assert output["receipt"] == calls[0]["receipt"]
    assert output["attempt"] >= 2
    (effect,) = json.loads(line.quick("effects", "@latest:checkout", "--local", "-ojson").out)["items"]
    assert (effect["step"], effect["effect"], effect["phase"]) == ("charge", "charge-card", "Completed")
    assert effect["takeovers"] == 1
    assert effect["details"] == {"receipt": output["receipt"]}
    shown = line.quick("effects", "@latest:checkout", "--local").out.splitlines()
    assert shown[0].split() == ["STEP", "EFFECT", "PHASE", "HOLDER", "SINCE", "LEASE-UNTIL", "DETAILS"]
    assert shown[1].split()[:3] == ["charge", "charge-card", "Completed"]
