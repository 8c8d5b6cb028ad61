"""What an object is, by its key."""

from __future__ import annotations

import pytest

from core.payloads.place import StoredKind, StoredPlace, place_of

LOG = "team/logs/run/step/run-step/1767323045000000000.log"


@pytest.mark.parametrize(
    ("key", "kind", "owner"),
    [
        ("outputs/team/run-step/output.json", StoredKind.OUTPUTS, "run-step"),
        ("outputs/team/run-step/deep/er.json", StoredKind.OUTPUTS, "run-step"),
        ("inputs/team/3b1e/input.json", StoredKind.INPUTS, "3b1e"),
        (LOG, StoredKind.LOGS, "run"),
        (LOG.replace("/step/", "/fan/left/"), StoredKind.LOGS, "run"),
        (LOG.replace("/run/step/", "/"), StoredKind.LOGS, "run-step"),
        ("cache/team/embed/v1/00.json", StoredKind.CACHE, "embed"),
        ("cache/team/embed/rows.sha256-00.json", StoredKind.CACHE, "embed"),
    ],
)
def test_each_kind_has_an_owner(key: str, kind: StoredKind, owner: str) -> None:
    assert place_of(key, kind, "team") == StoredPlace(kind, "team", owner)


@pytest.mark.parametrize(
    ("key", "kind", "namespace"),
    [
        ("outputs/team/output.json", StoredKind.OUTPUTS, "team"),
        ("outputs/team-b/run/output.json", StoredKind.OUTPUTS, "team"),
        ("inputs/team/run/input.json", StoredKind.OUTPUTS, "team"),
        ("team/logs/run/readme.txt", StoredKind.LOGS, "team"),
        ("team/logs/run/step/run-step/latest.log", StoredKind.LOGS, "team"),
    ],
)
def test_other_objects_are_not_ours(key: str, kind: StoredKind, namespace: str) -> None:
    assert place_of(key, kind, namespace) is None


def test_namespaces_with_the_names_of_folders_do_not_get_objects_of_each_other() -> None:
    log_of_outputs = LOG.replace("team", "outputs")
    output_of_logs = "outputs/logs/run-step/output.json"

    assert place_of(log_of_outputs, StoredKind.OUTPUTS, "logs") is None
    assert place_of(log_of_outputs, StoredKind.LOGS, "outputs") == StoredPlace(StoredKind.LOGS, "outputs", "run")
    assert place_of(output_of_logs, StoredKind.LOGS, "outputs") is None
    assert place_of(output_of_logs, StoredKind.OUTPUTS, "logs") == StoredPlace(StoredKind.OUTPUTS, "logs", "run-step")
