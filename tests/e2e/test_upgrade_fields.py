"""docs/upgrading.md lists every field that definitions of the previous release would drop, and no other."""

from __future__ import annotations

from pathlib import Path

from deployment.crds import packaged_crds
from tests.e2e.definition_fields import new_fields
from tests.e2e.previous_release import unpacked_release
from tests.e2e.upgrading_page import listed_fields
from tests.e2e.yaml_documents import manifest


def test_the_page_lists_the_fields_that_older_definitions_would_drop(tmp_path: Path) -> None:
    release = unpacked_release(tmp_path)
    listed = listed_fields()
    found: dict[str, set[str]] = {kind: set() for kind in listed}
    for newer in packaged_crds():
        kind, group, plural = newer["spec"]["names"]["kind"], newer["spec"]["group"], newer["spec"]["names"]["plural"]
        older = manifest(release / f"manifests/crds/{group}_{plural}.yaml")
        for path in new_fields(older, newer):
            name = path.rpartition(".")[2].removesuffix("[]")
            owner = kind if name in listed.get(kind, ()) else ""
            remedy = "add it to docs/upgrading.md, Fields of this release"
            assert name in listed[owner], f"{kind} {path} is missing: {remedy}"
            found[owner].add(name)
    assert found == listed
