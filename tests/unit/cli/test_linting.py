"""Findings about files: the validators of admission, and the places in the file that they found."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli import lintreport, yamlsource
from cli.linting import ALL_RULES, Located, check, in_order, read_documents, sound, world_of_files
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from fuzz.admission.stories import ALPHA, BETA, stories
from tests.integration.impulse_pages import FOLDER
from webhooks.cluster_view import InMemoryView

STORY = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: s}
spec:
  steps:
    - name: fetch
      ref: {name: http}
      with:
        url: "{{ steps.nope.output.x }}"
"""
TYPED = """\
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: s}
spec:
  steps:
    - name: both
      parallel:
        steps:
          - {name: l, wait: {until: "true", timeout: soon}}
          - name: l
            gate: {}
"""


def lint(*texts: str, namespace: str = "") -> list[Located]:
    """Lint files with the names a, b and c."""
    files = list(zip("abc", texts, strict=False))
    documents, found = read_documents(files)
    found += check(documents, world_of_files(documents, namespace), namespace)
    return in_order(found, [file for file, _ in files])


def told(found: list[Located]) -> list[tuple[Any, ...]]:
    return [(each.file, *each.place, each.finding.rule.id, each.finding.path) for each in found]


def test_a_finding_stands_where_the_field_is_written() -> None:
    assert told(lint(STORY)) == [("a", 9, 9, "story/expression-step-unknown", "spec.steps[0].with.url")]


def test_a_value_of_the_wrong_type_does_not_hide_what_else_is_wrong() -> None:
    wrong = STORY + "      sideEffects: 3\n    - {name: pause, type: sleep, with: {duratoin: 5s}, needs: x}\n"

    assert told(lint(wrong)) == [
        ("a", 9, 9, "story/expression-step-unknown", "spec.steps[0].with.url"),
        ("a", 10, 7, "any/shape", "spec.steps[0].sideEffects"),
        ("a", 11, 41, "story/setting-misspelt", "spec.steps[1].with.duratoin"),
        ("a", 11, 56, "any/shape", "spec.steps[1].needs"),
    ]


def test_a_value_of_the_wrong_type_hides_nothing_in_a_typed_story() -> None:
    wrong = TYPED + "    - {name: [], stop: {}}\n    - {name: ok, if: inputs., sideEffects: 1, stop: {}}\n"

    assert [(rule, path) for *_, rule, path in told(lint(wrong))] == [
        ("story/wait-settings", "spec.steps[0].parallel.steps[0].wait.timeout"),
        ("story/name-taken", "spec.steps[0].parallel.steps[1].name"),
        ("any/shape", "spec.steps[1].name"),
        ("story/expression", "spec.steps[2].if"),
        ("any/shape", "spec.steps[2].sideEffects"),
    ]


def test_words_that_only_kubernetes_reads_as_booleans_get_a_warning() -> None:
    text = STORY + "      allowFailure: yes\n  output: {on: 'yes'}\n"

    found = [each for each in lint(text) if each.finding.rule.id == "file/yaml-boolean"]
    assert told(found) == [
        ("a", 10, 7, "file/yaml-boolean", "spec.steps[0].allowFailure"),
        ("a", 11, 12, "file/yaml-boolean", "spec.output.true"),
    ]
    assert [each.finding.remedy for each in found] == [
        'write true, or "yes" in quotes',
        'write true, or "on" in quotes',
    ]


def test_what_is_not_written_down_is_told_at_its_nearest_parent() -> None:
    text = STORY.replace("ref: {name: http}", "type: wait").replace('url: "{{ steps.nope.output.x }}"', "timeout: 1m")
    assert told(lint(text)) == [("a", 8, 7, "story/wait-until", "spec.steps[0].with.until")]


def test_a_typed_story_is_told_of_in_its_own_words() -> None:
    found = lint(TYPED)
    assert told(found) == [
        ("a", 9, 45, "story/wait-settings", "spec.steps[0].parallel.steps[0].wait.timeout"),
        ("a", 10, 13, "story/name-taken", "spec.steps[0].parallel.steps[1].name"),
    ]
    assert "is already used by spec.steps[0].parallel.steps[0]" in found[1].finding.message


@pytest.mark.parametrize(
    ("step", "path", "message"),
    [
        ("{name: a, gate: {}, sleep: {duration: 1s}}", "spec.steps[0]", "has sleep and gate"),
        ("{name: a}", "spec.steps[0]", "has none of ref, run, condition, parallel, sleep"),
        ("{name: a, gate: {}, with: {b: 1}}", "spec.steps[0].with", "is the input of an Engram"),
        ("{name: a, gate: {with: 1}}", "spec.steps[0].gate.with", "unknown field"),
        ("{name: a, type: gate}", "spec.steps[0].type", "unknown field"),
    ],
)
def test_what_the_schema_of_v1beta1_refuses_is_found_without_a_server(step: str, path: str, message: str) -> None:
    (found,) = lint(TYPED[: TYPED.index("  steps:")] + f"  steps: [{step}]\n")
    assert found.finding.path == path
    assert found.finding.message.startswith(message)


def test_files_are_one_world() -> None:
    call = "apiVersion: bubustack.io/{0}\nkind: Story\nmetadata: {{name: {1}}}\nspec: {{steps: [{{name: x, {2}}}]}}\n"
    untyped = call.format("v1alpha1", "one", "type: executeStory, with: {storyRef: {name: two}}")
    typed = call.format("v1beta1", "two", "executeStory: {storyRef: {name: one}}")
    assert told(lint(untyped, typed)) == [
        ("a", 4, 53, "story/call-circle", "spec.steps[0].with.storyRef"),
        ("b", 4, 41, "story/call-circle", "spec.steps[0].executeStory.storyRef"),
    ]


def test_all_that_is_wrong_with_the_files_themselves() -> None:
    text = (
        "apiVersion: bubustack.io/v1alpha1\nkind: Storry\nmetadata: {name: a}\n"
        "---\n- 1\n---\na: [\n---\nkind: Story\n"
        "---\napiVersion: bubustac.io/v1alpha1\nkind: Story\nmetadata: {name: a}\n"
        "---\napiVersion: v1\nkind: Secret\nmetadata: {}\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
    )
    assert told(lint(text)) == [
        ("a", 2, 1, "any/shape", "kind"),
        ("a", 5, 1, "file/no-object", ""),
        ("a", 8, 1, "file/unreadable", ""),
        ("a", 9, 1, "any/shape", "apiVersion"),
        ("a", 9, 1, "file/nameless", "metadata.name"),
        ("a", 11, 1, "file/foreign-kind", "apiVersion"),
        ("a", 17, 1, "file/nameless", "metadata.name"),
        ("a", 25, 12, "file/twice", "metadata.name"),
    ]


def test_the_objects_of_a_list_are_looked_at_one_by_one() -> None:
    def indented(text: str) -> str:
        return "  - " + text.replace("\n", "\n    ").rstrip() + "\n"

    head = "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n"
    text = f"{head}{indented(STORY)}{indented(TYPED)}  - 7\n"
    assert [found[1:4] for found in told(lint(text))] == [
        (13, 13, "story/expression-step-unknown"),
        (16, 16, "file/twice"),
        (22, 49, "story/wait-settings"),
        (23, 17, "story/name-taken"),
        (25, 5, "file/no-object"),
    ]


def test_what_is_no_manifest_is_an_error_where_it_was_named_and_passed_over_in_a_folder() -> None:
    files = [("a", "images: {}\n"), ("b", "images: {}\n")]
    documents, found = read_documents(files, gathered={"b"})
    assert documents == []
    assert told(found) == [("a", 1, 1, "file/no-manifest", ""), ("b", 1, 1, "file/stray", "")]
    assert [each.finding.severity.value for each in found] == ["error", "warning"]


def test_a_namespace_for_those_that_name_none_decides_what_is_the_same_place() -> None:
    text = STORY.replace("ref: {name: http}", "ref: {name: http, namespace: shared}").replace(
        "{{ steps.nope.output.x }}", "u"
    )
    operator = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.DENY)
    documents, _ = read_documents([("a", text)])
    for namespace, expected in (("team", ["story/engram-denied"]), ("shared", ["story/engram-missing"])):
        world = InMemoryView(sound(documents, namespace), settings=operator, namespace=namespace)
        assert [found.finding.rule.id for found in check(documents, world, namespace)] == expected


def test_the_status_of_an_exported_object_is_not_looked_at() -> None:
    assert lint(STORY.replace("{{ steps.nope.output.x }}", "u") + "status: {surprise: 1}\n") == []


def test_every_rule_has_an_id_of_its_own() -> None:
    ids = [rule.id for rule in ALL_RULES]
    assert len(ids) == len(set(ids))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(stories(ALPHA), stories(BETA)))
def test_whatever_a_file_holds_it_is_told_of_in_every_form(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    found = lint(text)
    lines = text.split("\n")
    assert all(each.place[0] <= len(lines) and each.place[1] <= len(lines[0]) for each in found)
    assert json.loads(lintreport.as_json(found))["errors"] + json.loads(lintreport.as_json(found))["warnings"] == len(
        found
    )
    assert len(json.loads(lintreport.sarif(found, "1"))["runs"][0]["results"]) == len(found)
    assert len(lintreport.github(found).splitlines()) == len(found)


TEMPLATE = "{{ steps.nope.output.x }}"
ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("spec:\n  steps:\n" + "  - {name: a}\n" * 40_000, id="many steps"),
        pytest.param(STORY + "    - {name: a, ref: {name: b}}\n" * 5_000, id="steps beyond the schema"),
        pytest.param(ALIASES, id="aliases"),
        pytest.param(STORY + "      if: " + "[" * 10_000, id="deep"),
        pytest.param(STORY.replace(TEMPLATE, TEMPLATE * 20_000), id="long template"),
        pytest.param(STORY + "    x: " + "y" * yamlsource.MAX_BYTES, id="large"),
    ],
)
def test_hostile_files_are_answered_in_seconds(text: str) -> None:
    began = time.process_time()
    assert lint(text)
    assert time.process_time() - began < 20, "seconds of processor time; a few where nobody else is at work"


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("webhook", "{keyHeadr: X-Id}", {("definition/with", "did you mean keyHeader instead of keyHeadr?")}),
        ("webhook", "{auth: {typ: hmac}}", {("definition/with", "did you mean type instead of typ?")}),
        (
            "cron",
            '{schedules: [{name: n, cron: "0 25 * * *", timezone: UTC}]}',
            {
                ("definition/with", "did you mean timeZone instead of timezone?"),
                ("impulse/schedule", "write for example 30 2 * * MON-FRI"),
            },
        ),
        ("cron", "{timeZone: Europe/Berln}", {("impulse/time-zone", "did you mean Europe/Berlin?")}),
    ],
)
def test_settings_of_an_impulse_of_this_project_are_checked_with_its_template(
    name: str, settings: str, expected: set[tuple[str, str]]
) -> None:
    impulse = f"""\
apiVersion: bubustack.io/v1alpha1
kind: Impulse
metadata: {{name: i}}
spec:
  templateRef: {{name: {name}}}
  storyRef: {{name: s}}
  with: {settings}
"""
    found = lint(impulse, (FOLDER / "manifests" / f"{name}.yaml").read_text())

    assert expected <= {(each.finding.rule.id, each.finding.remedy) for each in found}
