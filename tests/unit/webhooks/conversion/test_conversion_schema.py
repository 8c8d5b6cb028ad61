"""The schemas of both versions accept the same Stories: a label can be set on any Story in either version."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.api.crd import ConversionService, custom_resource_definition
from core.api.manifest import errors_of
from core.api.story import STORY_KIND
from core.story.kinds import SETTINGS
from tests.unit.core.api.wire_documents import documents
from webhooks.conversion.story import V1ALPHA1, V1BETA1, converted

_VERSIONS = custom_resource_definition(STORY_KIND, ConversionService("n", "s", "/convert"))["spec"]["versions"]
ALPHA_SCHEMA, BETA_SCHEMA = (version["schema"]["openAPIV3Schema"] for version in _VERSIONS)
REQUIRED = (".wait.until", ".executeStory.storyRef", ".executeStory.storyRef.name", ".parallel.steps")
"""Admission requires these in both versions; the schema of v1beta1 requires them by itself."""

SETTING = st.sampled_from(
    [
        *("", "5m", "fail", "Skip", "{{ inputs.x }}"),
        *(None, True, False, 7, {}),
        *({"name": name} for name in ("a", "", "{{ inputs.x }}", 7)),
        {"name": "a", "namespace": "b", "other": 1},
        {"name": "a", "version": "1", "namespace": None},
        {"name": "a", "version": 1},
        *(
            [],
            ["x"],
            [{"name": "b", "ref": {"name": "e"}}, {"name": "c", "type": "gate", "with": {"onTimeout": "SKIP"}}],
        ),
    ]
)


def headed(document: dict[str, Any], api_version: str) -> dict[str, Any]:
    return {**document, "apiVersion": api_version, "kind": "Story", "metadata": {"name": "x"}}


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(ALPHA_SCHEMA), st.data())
def test_a_story_that_fits_v1alpha1_fits_v1beta1(document: dict[str, Any], data: st.DataObject) -> None:
    for list_name in ("steps", "compensations", "finally"):
        for step in document["spec"].get(list_name) or ():
            step.pop("ref", None)
            step["type"] = data.draw(st.sampled_from(list(SETTINGS)))
            keys = st.sampled_from([*SETTINGS[step["type"]], "other"])
            step["with"] = copy.deepcopy(data.draw(st.dictionaries(keys, SETTING, min_size=1, max_size=4)))
    story = headed(document, V1ALPHA1)
    assert errors_of(story) == []
    assert [
        error
        for error in errors_of(converted(story, V1BETA1))
        if not (error.message == "is required" and error.path.endswith(REQUIRED))
    ] == []


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(BETA_SCHEMA))
def test_a_story_that_fits_v1beta1_fits_v1alpha1(document: dict[str, Any]) -> None:
    story = headed(document, V1BETA1)
    assert errors_of(story) == []
    assert errors_of(converted(story, V1ALPHA1)) == []
