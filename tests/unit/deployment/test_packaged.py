from __future__ import annotations

from deployment import files
from deployment.packaged import Packaged, packaged
from deployment.permissions.names import DEFAULT_INSTALLATION
from deployment.permissions.roles import operator_objects
from deployment.policies import policy
from deployment.registration import mutating_configuration, validating_configuration


def test_the_packaged_configurations_are_those_of_an_installation() -> None:
    assert packaged(Packaged.CONFIGURATIONS) == [mutating_configuration(), validating_configuration()]


def test_the_packaged_policies_are_those_of_an_installation() -> None:
    pairs = (policy.documents(each, DEFAULT_INSTALLATION) for each in files.policies())
    assert packaged(Packaged.POLICIES) == [document for pair in pairs for document in pair]


def test_the_packaged_permissions_are_those_of_the_operator() -> None:
    assert packaged(Packaged.PERMISSIONS) == [*operator_objects()]
