from __future__ import annotations

import copy
from typing import Any

from cli.doctor.definitions import diagnoses_of
from core.api.objects import Object
from deployment.crds import packaged_crds
from views.doctor.diagnosis import Health

WANTED = packaged_crds(converted=True)[:2]
NAME = WANTED[0]["metadata"]["name"]
ESTABLISHED = {"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1alpha1"]}


def present(**status: Any) -> dict[str, Object]:
    """The wanted definitions as a server has them."""
    return {crd["metadata"]["name"]: {**copy.deepcopy(crd), "status": {**ESTABLISHED, **status}} for crd in WANTED}


def test_definitions_of_this_release_are_well() -> None:
    (found,) = diagnoses_of(present(), WANTED)

    assert found.health is Health.OK


def test_a_missing_definition_is_a_problem_with_the_command_that_installs_it() -> None:
    there = present()
    del there[NAME]

    (found,) = diagnoses_of(there, WANTED)

    assert found.health is Health.PROBLEM
    assert NAME in found.text
    assert found.commands == ("kubectl apply --server-side -f manifests/crds",)


def test_where_stories_are_converted_no_command_takes_a_version_away() -> None:
    there = present()
    there[NAME]["spec"]["conversion"] = {"strategy": "Webhook", "webhook": {}}
    there[NAME]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].popitem()

    (found,) = diagnoses_of(there, WANTED)

    assert found.commands == ("kubectl apply --server-side -k manifests/conversion",)


def test_a_definition_that_is_not_served_is_a_problem_with_its_reason() -> None:
    conditions = [{"type": "Established", "status": "False", "message": "names conflict"}]

    found = diagnoses_of(present(conditions=conditions), WANTED)

    assert all(each.health is Health.PROBLEM and "names conflict" in each.text for each in found)


def test_another_schema_is_a_warning() -> None:
    there = present()
    version = there[NAME]["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].popitem()

    (found,) = diagnoses_of(there, WANTED)

    assert found.health is Health.WARNING
    assert "another schema" in found.text


def test_a_version_that_is_not_served_is_a_problem() -> None:
    there = present()
    for version in there[NAME]["spec"]["versions"]:
        version["served"] = False

    assert any(each.health is Health.PROBLEM and "does not serve" in each.text for each in diagnoses_of(there, WANTED))


def test_a_definition_that_is_being_deleted_is_a_problem() -> None:
    there = present()
    there[NAME]["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"

    (found,) = diagnoses_of(there, WANTED)

    assert (found.health, "being deleted" in found.text) == (Health.PROBLEM, True)


def test_objects_of_an_unknown_stored_version_are_a_warning() -> None:
    found = diagnoses_of(present(storedVersions=["v1alpha1", "v0"]), WANTED)

    assert all(each.health is Health.WARNING and "v0" in each.text for each in found)
