"""Files with Stories in another version: the values stay equal, and the formatting stays as far as possible."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from cli import yamlsource
from cli.problem import RejectedManifestError
from cli.verbs.convert import converted_text
from cli.yamlsource import SourceError
from fuzz.admission.stories import ALPHA, BETA, stories
from webhooks.conversion.story import converted

OTHERS = "# Kept.\nkind: ConfigMap\nmetadata: {name:   odd}\n"
STORY = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata:
  name: s  # its name
spec:
  # all of them
  steps:
    # the first
    - name: nap
      type: sleep  # long
      with:
        # how long
        duration: "5m"  # minutes
    - name: both
      type: parallel
      with:
        steps:
          # left
          - name: l
            type: gate
          - {name: r, ref: {name: e}, with: {type: sleep}}
    # the last
    - name: end
      if: 'true'
      type: condition
"""
TYPED = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata:
  name: s  # its name
spec:
  # all of them
  steps:
    # the first
    - name: nap
      sleep:       # long
        # how long
        duration: "5m"  # minutes
    - name: both
      parallel:
        steps:
          # left
          - name: l
            gate: {}
          - {name: r, ref: {name: e}, with: {type: sleep}}
    # the last
    - name: end
      if: 'true'
      condition: {}
"""


def test_comments_quotes_and_indents_stay_where_they_belong() -> None:
    assert converted_text("s.yaml", STORY, BETA) == TYPED


def test_the_way_back_gives_the_same_values_and_comments() -> None:
    back = converted_text("s.yaml", TYPED, ALPHA)
    assert YAML(typ="safe").load(back) == YAML(typ="safe").load(STORY)
    assert [
        comment for comment in ("its name", "long", "how long", "minutes", "left", "the last") if comment not in back
    ] == []


def test_what_is_no_story_of_another_version_stays_to_the_letter() -> None:
    text = f"---\n{OTHERS}...\n---\n# Nothing.\n---\n{TYPED}"
    assert converted_text("s.yaml", text, BETA) == text
    assert converted_text("s.yaml", f"{OTHERS}---\n{STORY}---\n{OTHERS}", BETA) == f"{OTHERS}---\n{TYPED}---\n{OTHERS}"
    foreign = STORY.replace("bubustack.io", "example.com")
    assert converted_text("s.yaml", foreign, BETA) == foreign


def test_aliases_and_json_are_understood() -> None:
    aliased = STORY.replace("name: l\n", "name: l\n            needs: &n [a]\n") + "      needs: *n\n"
    given_, found = (
        yamlsource.read(yamlsource.Chunk(text, 1)) for text in (aliased, converted_text("s", aliased, BETA))
    )
    assert given_ is not None
    assert found is not None
    assert found.value == converted(given_.value, BETA)
    json_text = (
        '{"apiVersion": "bubustack.io/v1alpha1", "kind": "Story", "spec": {"steps": [{"name": "a", "type": "gate"}]}}\n'
    )
    assert YAML(typ="safe").load(converted_text("s", json_text, BETA))["spec"]["steps"] == [{"name": "a", "gate": {}}]


def test_stories_in_a_list_are_converted_too() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- {kind: Pod}\n- kind: Story  # ours\n"
        "  apiVersion: bubustack.io/v1alpha1\n  spec:\n    steps:\n    - {name: a, type: gate}\n"
    )
    there = converted_text("s", text, BETA)
    assert there == text.replace("v1alpha1", "v1beta1").replace("type: gate", "gate: {}")
    assert converted_text("s", there, BETA) == there


def test_what_the_writer_of_yaml_would_garble_is_printed_as_json() -> None:
    text = '{"apiVersion": "bubustack.io/v1alpha1", "kind": "Story", "spec": {"output": {":0": null}}}\n'
    source = yamlsource.read(yamlsource.Chunk(converted_text("s", text, BETA), 1))
    assert source is not None
    assert source.value == {"apiVersion": BETA, "kind": "Story", "spec": {"output": {":0": None}}}


def test_every_document_that_cannot_be_read_is_named_with_its_place() -> None:
    text = f"{STORY.replace('v1alpha1', 'v9')}---\na: [\n---\na: &a [*a]\n"
    with pytest.raises(RejectedManifestError) as refused:
        converted_text("s.yaml", text, BETA)
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("s.yaml:1: apiVersion: Story has no version 'bubustack.io/v9'")
    assert lines[1].startswith("s.yaml:28:1: does not parse")
    assert lines[2] == "s.yaml:29:8: 'a' refers to itself (write it out)"


@settings(max_examples=60, deadline=None)
@given(stories(ALPHA), st.booleans())
def test_the_values_are_those_of_the_webhook(document: object, flow: bool) -> None:
    buffer, yaml = io.StringIO(), YAML()
    yaml.default_flow_style = flow
    yaml.dump(document, buffer)
    try:
        source = yamlsource.read(yamlsource.Chunk(buffer.getvalue(), 1))
    except SourceError:
        reject()  # the library cannot read everything that it writes
    assert source is not None
    found = yamlsource.read(yamlsource.Chunk(converted_text("s", buffer.getvalue(), BETA), 1))
    assert found is not None
    assert found.value == converted(source.value, BETA)
