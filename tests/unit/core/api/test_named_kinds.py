from __future__ import annotations

import subprocess
import sys

import pytest

from core.api import kinds, named_kinds
from core.api.kind import Kind
from core.api.story import STORY_KIND, Story
from core.api.v1beta1.story import Story as StoryV1beta1


def test_all_kinds_are_found_in_their_order() -> None:
    assert tuple(kind.resource.kind for kind in kinds.KINDS) == named_kinds.KIND_NAMES


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.resource.kind)
def test_each_kind_is_found_by_the_version_the_process_reads_and_writes(kind: Kind) -> None:
    model = named_kinds.model_for(kind.resource.api_version, kind.resource.kind)
    assert model is not None
    assert model.__name__ == kind.resource.kind
    named: object = named_kinds.kind_named(kind.resource.kind)
    assert named is kind
    assert named_kinds.api_versions(kind)[0] == kind.resource.api_version


def test_unknown_names_are_not_found() -> None:
    assert named_kinds.model_for("bubustack.io/v1alpha1", "StoryRun") is None
    assert named_kinds.model_for("bubustack.io/v1alpha1", "Story") is Story
    assert named_kinds.kind_named("Pod") is None


def test_a_story_can_be_written_in_two_versions_and_is_stored_in_the_first() -> None:
    assert named_kinds.api_versions(STORY_KIND) == ("bubustack.io/v1alpha1", "bubustack.io/v1beta1")
    assert named_kinds.model_for("bubustack.io/v1beta1", "Story") is StoryV1beta1


def test_the_models_of_other_kinds_are_not_built() -> None:
    script = (
        "import sys; from core.api.named_kinds import model_for; assert model_for('bubustack.io/v1alpha1', 'Story');"
        "sys.exit('core.api.steprun' in sys.modules or 'core.api.grant' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
