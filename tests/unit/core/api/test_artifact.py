"""Artifacts as inputs and outputs show them; the SDK writes what is read here."""

from __future__ import annotations

from typing import Any

import pytest

from bubu_sdk import Artifact
from bubu_sdk.artifact import ARTIFACT as ARTIFACT_OF_SDK
from core.api.artifact import (
    ARTIFACT,
    ArtifactError,
    ArtifactReference,
    artifacts_in,
    for_people,
    is_artifact,
    size_text,
    with_artifacts,
)

SAVED = Artifact("outputs/team/run-a/files/m.sha256-0.pt", "m.pt", 3_355_443, "a" * 64, "image/png")
NODE = SAVED.to_json()


def test_what_the_sdk_writes_is_read() -> None:
    assert ARTIFACT == ARTIFACT_OF_SDK
    assert ArtifactReference.of(NODE) == ArtifactReference(
        SAVED.key, "m.pt", 3_355_443, "a" * 64, "image/png", is_directory=False
    )


@pytest.mark.parametrize(
    "change",
    [
        {ARTIFACT: 1},
        {"name": "../x"},
        {"name": "a/b"},
        {"name": ".."},
        {"name": ""},
        {"name": 1},
        {"sizeBytes": -1},
        {"sizeBytes": True},
        {"sizeBytes": "1"},
        {"sha256": "A" * 64},
        {"sha256": None},
    ],
)
def test_a_malformed_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError):
        ArtifactReference.of({**NODE, **change})


def test_all_are_found_in_order_and_may_be_replaced() -> None:
    value = {"a": [NODE, {"b": {**NODE, "name": "n"}}], "c": 1, "d": {"$bubuStorageRef": "outputs/team/x"}}

    assert [node["name"] for node in artifacts_in(value)] == ["m.pt", "n"]
    assert with_artifacts(value, lambda node: node["name"]) == {**value, "a": ["m.pt", {"b": "n"}]}
    assert not is_artifact(value["d"])


def test_people_see_name_size_and_type() -> None:
    folder = {**NODE, "kind": "directory", "name": "data", "sizeBytes": 900}

    assert for_people({"x": NODE, "y": [folder], "z": {**NODE, "name": "../x"}}) == {
        "x": "m.pt (3.2 MiB, image/png)",
        "y": ["data (900 B, directory)"],
        "z": {**NODE, "name": "../x"},
    }


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (3 << 50, "3072.0 TiB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert size_text(size) == text
