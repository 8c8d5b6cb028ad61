from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cli.doctor.leftovers import diagnoses_of
from core.api.objects import Object
from core.api.resource import JOB, STEP_RUN, STORY_RUN
from views.doctor.diagnosis import Health

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
LONG_AGO, JUST_NOW = "2026-11-24T11:00:00Z", "2026-11-24T11:59:00Z"


def obj(name: str, owner: tuple[str, str] = ("", ""), **metadata: Any) -> Object:
    kind, uid = owner
    references = [{"kind": kind, "uid": uid, "name": uid}] if uid else []
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": name,
            "creationTimestamp": LONG_AGO,
            "ownerReferences": references,
            **metadata,
        }
    }


def test_objects_with_their_owners_are_well() -> None:
    objects = {STORY_RUN: [obj("r")], STEP_RUN: [obj("s", ("StoryRun", "r"))], JOB: [obj("j", ("StepRun", "s"))]}

    assert [each.health for each in diagnoses_of(objects, NOW)] == [Health.OK]


def test_an_object_that_a_finalizer_holds_for_long_is_named() -> None:
    held = obj("r", deletionTimestamp=LONG_AGO, finalizers=["tests/hold"])

    (found,) = diagnoses_of({STORY_RUN: [held, obj("young", deletionTimestamp=JUST_NOW)]}, NOW)

    assert found.health is Health.WARNING
    assert "1 storyruns wait for their deletion" in found.text
    assert "team/r (finalizers: tests/hold)" in found.text


def test_an_object_whose_owner_is_gone_is_an_orphan_unless_it_is_young() -> None:
    orphan, young = obj("j", ("StepRun", "gone")), obj("y", ("StepRun", "gone"), creationTimestamp=JUST_NOW)

    (found,) = diagnoses_of({STEP_RUN: [], JOB: [orphan, young]}, NOW)

    assert "1 jobs have lost their StepRun: team/j" in found.text


def test_without_the_list_of_owners_nobody_is_an_orphan() -> None:
    assert [each.health for each in diagnoses_of({JOB: [obj("j", ("StepRun", "gone"))]}, NOW)] == [Health.OK]
