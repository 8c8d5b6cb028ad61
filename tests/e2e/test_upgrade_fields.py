"""What definitions of the previous release would drop: docs/upgrading.md lists it, and a policy refuses to lose it."""

from __future__ import annotations

from pathlib import Path

from core.api.crd import DEFINITIONS_REVISION, REVISION_TITLE
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


def test_definitions_with_new_fields_have_a_higher_revision_than_those_of_the_previous_release(tmp_path: Path) -> None:
    release = unpacked_release(tmp_path)
    for newer in packaged_crds():
        older = manifest(release / f"manifests/crds/{newer['spec']['group']}_{newer['spec']['names']['plural']}.yaml")
        (title,) = {each["schema"]["openAPIV3Schema"].get("title", "") for each in older["spec"]["versions"]}
        before = int(title.removeprefix(REVISION_TITLE) or 0)
        needed = before + 1 if new_fields(older, newer) else before
        assert needed <= DEFINITIONS_REVISION, f"raise DEFINITIONS_REVISION in core/api/crd.py to {needed}"
