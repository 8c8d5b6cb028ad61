from __future__ import annotations

from cli.configured import configuration_of
from cli.doctor.settings import diagnoses_of
from views.doctor.diagnosis import Health

PLACE = "ConfigMap a/b"


def test_a_refused_value_is_a_problem_and_a_key_without_effect_a_warning() -> None:
    configuration = configuration_of({"retry.max-retries": "many", "loop.max-concurrency": "1"})

    refused, unused = diagnoses_of(configuration, PLACE, exists=True)

    assert refused.health is Health.PROBLEM
    assert "retry.max-retries: 'many' is not a whole number" in refused.text
    assert unused.health is Health.WARNING
    assert "loop.max-concurrency" in unused.text


def test_a_valid_config_map_and_none_at_all_are_well() -> None:
    for exists in (True, False):
        (found,) = diagnoses_of(configuration_of({}), PLACE, exists=exists)
        assert found.health is Health.OK
