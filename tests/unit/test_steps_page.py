"""``docs/steps.md`` says what the code does: variables, retries, timeouts, fields of a secret."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from bubu_contract.durations import short_duration
from core.api.execution import RetrySpec
from core.api.templates import SecretDefinition
from core.engine.step.outcome import exit_class
from core.policy.retry import DEFAULT_MAX_DELAY
from core.policy.settings import FALLBACK_STEP_TIMEOUT, OperatorSettings
from core.policy.timing import DEFAULT_DELAY, STORED_RETRIES_LIMIT
from core.workloads.environment import batch_environment
from core.workloads.secrets import SECRET_MOUNT_ROOT
from core.workloads.stream_environment import stream_environment
from tests.unit.core.workloads.stream_samples import stream
from tests.unit.core.workloads.workload_samples import WORKLOAD

PAGE: Final = (Path(__file__).parents[2] / "docs" / "steps.md").read_text(encoding="utf-8")


def table(first: str) -> list[list[str]]:
    """The rows of the table whose heading begins with ``first``."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names(mode: int) -> set[str]:
    """The variables that the page promises for batch (1) or realtime (2) steps."""
    return {name for row in table("variable") if row[mode] for name in re.findall(r"`(\w+)`", row[0])}


@pytest.mark.parametrize(
    ("environment", "mode"),
    [(batch_environment(WORKLOAD), 1), (stream_environment(stream()), 2)],
    ids=["batch", "realtime"],
)
def test_every_variable_of_a_container_is_in_the_table(environment: list[dict[str, Any]], mode: int) -> None:
    set_by_us = {variable["name"] for variable in environment}
    of_the_stream = {name for name in set_by_us if name.startswith("BUBU_TRANSPORT_")}

    assert len(set_by_us) > 25
    assert sorted(set_by_us - of_the_stream - names(mode)) == []


def test_no_variable_is_promised_that_no_container_gets() -> None:
    conditional = {"if needed", "unless 20 s", "if resolved", "if set", "if traced", "secrets", "store", "TLS"}
    for mode, environment in ((1, batch_environment(WORKLOAD)), (2, stream_environment(stream()))):
        promised = {
            name
            for row in table("variable")
            if row[mode] and row[mode] not in conditional
            for name in re.findall(r"`(\w+)`", row[0])
        }
        assert sorted(promised - {variable["name"] for variable in environment}) == []


def test_every_field_of_a_retry_policy_is_there_with_its_default() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("field of `retry`")}
    fields = {info.alias or name: info for name, info in RetrySpec.model_fields.items()}

    assert rows.keys() == fields.keys()
    assert rows["maxRetries"] == f"`{fields['maxRetries'].default}`"
    assert f"0 to {STORED_RETRIES_LIMIT}" in PAGE
    assert rows["delay"] == f"`{short_duration(DEFAULT_DELAY)}`" == f"`{fields['delay'].default}`"
    assert rows["maxDelay"].startswith(f"`{short_duration(DEFAULT_MAX_DELAY)}`")


def test_the_exit_codes_are_retried_as_the_page_says() -> None:
    said = {row[0]: row[1].partition(":")[0] for row in table("failure")}
    for codes, answer in (
        ([*range(1, 124), 125, 126, 127], said["exit code 1 to 123, 125 to 127"]),
        ([124], said["exit code 124, a timeout of the attempt"]),
        ([*range(128, 256)], next(value for key, value in said.items() if key.startswith("exit code 128 to 255"))),
        ([-1], said["the Pod or its node is gone, the exit code is unknown"]),
    ):
        assert {exit_class(code).retryable for code in codes} == {answer == "yes"}


def test_every_field_of_a_secret_is_there() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("field of `secretSchema.<name>`")}

    assert rows.keys() == {info.alias or name for name, info in SecretDefinition.model_fields.items()}
    assert rows["mountPath"] == f"`{SECRET_MOUNT_ROOT}/<name>`"


def test_the_timeouts_without_settings_are_those_of_the_operator() -> None:
    otherwise = {row[0]: row[2].rpartition(", ")[2] for row in table("timeout of") if "`, " in row[2]}
    settings = OperatorSettings()

    def shown(limit: timedelta | None) -> str:
        return "none" if limit is None else short_duration(limit)

    assert otherwise == {
        "an attempt": shown(FALLBACK_STEP_TIMEOUT),
        "compensations, and again `finally`": shown(settings.runs.cleanup_timeout),
        "a `gate`": shown(settings.timeouts.approval_default),
        "a `wait`": shown(settings.timeouts.external_data_default),
    }
