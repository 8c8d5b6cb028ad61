from __future__ import annotations

import pytest

from cli.configured import ChangeNeed, ConfigRow, OperatorProcess, SettingSource, chosen, configuration_of, plain
from core.policy.config_keys import ACCEPTED_WITHOUT_EFFECT, KEYS
from deployment.configuration import SHIPPED

_PLAIN = OperatorProcess()


def row(key: str, data: dict[str, str], process: OperatorProcess = _PLAIN) -> ConfigRow:
    return next(each for each in configuration_of(data, process).rows if each.key == key)


def test_without_a_config_map_every_key_has_its_default() -> None:
    rows = configuration_of({}).rows

    assert set(KEYS) <= {each.key for each in rows}
    assert {each.source for each in rows} == {SettingSource.DEFAULT}
    assert all(each.value == each.default for each in rows)


def test_a_value_of_the_config_map_stands_beside_its_default() -> None:
    found = row("retry.max-retries", {"retry.max-retries": " 5 "})

    assert (found.value, found.default, found.source) == ("5", "3", SettingSource.CONFIG_MAP)


@pytest.mark.parametrize(
    ("key", "need"),
    [
        ("retry.max-retries", ChangeNeed.NOTHING),
        ("job.backoff-limit", ChangeNeed.NEW_CONTAINERS),
        ("story.max-concurrent-reconciles", ChangeNeed.RESTART),
    ],
)
def test_a_row_says_what_a_change_needs(key: str, need: ChangeNeed) -> None:
    assert row(key, {}).need is need


def test_the_value_in_force_is_shown_where_a_key_falls_back_to_another() -> None:
    data = {"story.max-concurrent-reconciles": "0", "controller.max-concurrent-reconciles": "7"}

    assert row("story.max-concurrent-reconciles", data).value == "7"


def test_a_refused_value_is_named_and_the_others_keep_their_values() -> None:
    found = configuration_of({"retry.max-retries": "many", "job.backoff-limit": "2"})
    rows = {each.key: each for each in found.rows}

    assert found.is_refused
    assert "'many' is not a whole number" in rows["retry.max-retries"].error
    assert rows["job.backoff-limit"].value == "2"


def test_a_missing_key_that_another_requires_is_named() -> None:
    found = configuration_of({"controller.storage.provider": "s3"})

    assert found.is_refused
    assert row("controller.storage.s3.bucket", {"controller.storage.provider": "s3"}).error


@pytest.mark.parametrize("key", sorted(ACCEPTED_WITHOUT_EFFECT))
def test_a_key_without_effect_is_shown_with_the_reason(key: str) -> None:
    found = row(key, {key: "1"})

    assert (found.need, found.value) == (ChangeNeed.NO_EFFECT, "1")
    assert plain(ACCEPTED_WITHOUT_EFFECT[key]) in found.warning


def test_a_value_without_effect_is_shown_with_the_reason() -> None:
    rows = configuration_of({"storyrun.retention-seconds": "600"}).rows
    (row,) = (row for row in rows if row.warning)

    assert (row.key, row.value, row.is_changed) == ("storyrun.retention-seconds", "600", True)
    assert "batch runs are kept for 3600 s" in row.warning


def test_an_unknown_key_is_shown_with_the_nearest_one() -> None:
    assert "did you mean retry.max-retries?" in row("retry.max-retry", {"retry.max-retry": "1"}).warning


def test_flags_and_variables_of_the_operator_apply_while_the_key_is_empty() -> None:
    process = OperatorProcess(("--hub-endpoint=hub.example:9000",), {"AWS_REGION": "eu-central-1"})

    hub = row("controller.transport.hub-endpoint", {}, process)
    region = row("controller.storage.s3.region", {}, process)
    chosen_hub = row("controller.transport.hub-endpoint", {"controller.transport.hub-endpoint": "a.b:1"}, process)

    assert (hub.value, hub.source) == ("hub.example:9000", SettingSource.FLAG)
    assert (region.value, region.source) == ("eu-central-1", SettingSource.ENVIRONMENT)
    assert (chosen_hub.value, chosen_hub.source) == ("a.b:1", SettingSource.CONFIG_MAP)


def test_queues_and_namespaces_have_rows_of_their_own() -> None:
    data = {"storyrun.queue.gpu.concurrency": "2", "storyrun.namespace.team.max-priority": "9"}

    assert row("storyrun.queue.gpu.concurrency", data).value == "2"
    assert row("storyrun.queue.gpu.max-priority", data).source is SettingSource.DEFAULT
    assert row("storyrun.namespace.team.max-priority", data).value == "9"


def test_keys_are_chosen_by_name_and_by_what_they_begin_with() -> None:
    rows = configuration_of({}).rows

    found, missing = chosen(
        rows, ["retry.max-retries", "timeout.", "storyrun.queue.new.concurrency", "loop.max-concurrency"], changed=False
    )

    assert [each.key for each in found] == [
        *("retry.max-retries", "timeout.default-step", "timeout.approval-default", "timeout.external-data-default"),
        *("storyrun.queue.new.concurrency", "loop.max-concurrency"),
    ]
    assert missing == []


def test_a_key_that_does_not_exist_leads_to_the_nearest_one() -> None:
    assert chosen(configuration_of({}).rows, ["retry.maxretries", "zzz"], changed=False)[1] == [
        "retry.maxretries: no such key; did you mean retry.max-retries?",
        "zzz: no such key",
    ]


def test_only_changed_keys_are_shown_when_asked_for() -> None:
    data = {
        "retry.max-retries": "3",
        "timeout.default-step": "5m",
        "job.backoff-limit": "x",
        "loop.max-concurrency": "1",
    }
    rows = configuration_of(data).rows

    assert [each.key for each in chosen(rows, [], changed=True)[0]] == [
        *("timeout.default-step", "job.backoff-limit", "loop.max-concurrency"),
    ]


def test_the_shipped_config_map_has_no_problem_and_no_warning() -> None:
    found = configuration_of(SHIPPED)

    assert not found.is_refused
    assert [each.key for each in found.rows if each.warning] == []
