from __future__ import annotations

from deployment.registered import packaged_configurations
from deployment.registration import mutating_configuration, validating_configuration


def test_the_packaged_configurations_are_those_of_an_installation() -> None:
    assert packaged_configurations() == [mutating_configuration(), validating_configuration()]
