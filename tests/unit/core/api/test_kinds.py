from __future__ import annotations

import subprocess
import sys

import pytest

from core.api import kinds
from core.api.kind import Kind
from core.api.resource import OUR_RESOURCES
from core.api.story import STORY_KIND, Story
from core.api.v1beta1.story import Story as StoryV1beta1


def test_every_resource_of_the_contract_has_a_kind_in_the_same_order() -> None:
    assert tuple(kind.resource for kind in kinds.KINDS) == OUR_RESOURCES


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.resource.kind)
def test_each_kind_is_found_by_the_version_the_process_reads_and_writes(kind: Kind) -> None:
    model = kinds.model_for(kind.resource.api_version, kind.resource.kind)
    assert model is not None
    assert model.__name__ == kind.resource.kind
    named: object = kinds.kind_named(kind.resource.kind)
    assert named is kind
    assert kinds.api_versions(kind)[0] == kind.resource.api_version


def test_unknown_names_are_not_found() -> None:
    assert kinds.model_for("bubustack.io/v1alpha1", "StoryRun") is None
    assert kinds.model_for("bubustack.io/v1alpha1", "Story") is Story
    assert kinds.kind_named("Pod") is None


def test_a_story_can_be_written_in_two_versions_and_is_stored_in_the_first() -> None:
    assert kinds.api_versions(STORY_KIND) == ("bubustack.io/v1alpha1", "bubustack.io/v1beta1")
    assert kinds.model_for("bubustack.io/v1beta1", "Story") is StoryV1beta1


def test_the_vocabulary_does_not_load_the_models() -> None:
    modules = ("conditions", "duration", "errors", "identity", "instant", "keys", "phases", "quantity", "resource")
    imports = "; ".join(f"import core.api.{module}" for module in modules)
    script = f"import sys; {imports}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
