"""The list of software that each wheel contains is that of the present version."""

from __future__ import annotations

import pytest

from tools.release.bill import PROJECTS, document, file_of, text_of, version_of


@pytest.mark.parametrize("name", PROJECTS)
def test_the_file_in_the_repository_is_up_to_date(name: str) -> None:
    assert file_of(name).read_text(encoding="utf-8") == text_of(name), "run make generate"


def test_the_wheel_of_the_operator_names_its_copies_of_packages_of_the_sdk() -> None:
    found = document("bobrapet")

    assert found["metadata"]["component"]["purl"] == f"pkg:pypi/bobrapet@{version_of('bobrapet')}"
    assert [part["name"] for part in found["components"][:2]] == ["bubu_contract", "bubu_wire"]
    assert found["dependencies"][0]["dependsOn"] == [part["bom-ref"] for part in found["components"]]
