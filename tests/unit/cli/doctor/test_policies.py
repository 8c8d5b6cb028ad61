from __future__ import annotations

import copy

from cli.doctor.policies import diagnoses_of
from deployment.files import policies
from deployment.permissions.names import DEFAULT_INSTALLATION
from deployment.policies.policy import documents
from views.doctor.diagnosis import Health

_DOCUMENTS = [documents(each, DEFAULT_INSTALLATION) for each in policies(DEFAULT_INSTALLATION)]
WANTED = {policy["metadata"]["name"]: policy for policy, _ in _DOCUMENTS}
BINDINGS = [binding for _, binding in _DOCUMENTS]
NAME = next(iter(WANTED))


def test_policies_of_this_release_are_well() -> None:
    (found,) = diagnoses_of(WANTED, BINDINGS, WANTED)

    assert found.health is Health.OK


def test_a_missing_policy_is_a_problem() -> None:
    (found,) = diagnoses_of({name: each for name, each in WANTED.items() if name != NAME}, BINDINGS, WANTED)

    assert (found.health, NAME in found.text) == (Health.PROBLEM, True)


def test_a_policy_that_only_warns_is_a_problem() -> None:
    bindings = copy.deepcopy(BINDINGS)
    bindings[0]["spec"]["validationActions"] = ["Warn"]

    (found,) = diagnoses_of(WANTED, bindings, WANTED)

    assert (found.health, NAME in found.text) == (Health.PROBLEM, True)


def test_a_policy_with_other_rules_is_a_warning() -> None:
    there = copy.deepcopy(WANTED)
    there[NAME]["spec"]["validations"].pop()

    (found,) = diagnoses_of(there, BINDINGS, WANTED)

    assert (found.health, NAME in found.text) == (Health.WARNING, True)
