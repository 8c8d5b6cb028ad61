from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.api.crd import ConversionService, custom_resource_definition
from core.api.errors import FieldError, ManifestError
from core.api.kind import Kind
from core.api.kinds import KINDS
from core.api.manifest import errors_of, parse_manifest, to_wire
from core.api.story import Story
from tests.unit.core.api.wire_documents import documents

CONDITION = {"type": "Ready", "status": "True", "reason": "Ok", "message": ""}


def story(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": "report"},
        "spec": {"steps": [{"name": "fetch", "ref": {"name": "http"}}], **spec},
    }


def step(**fields: Any) -> dict[str, Any]:
    return story(steps=[{"name": "fetch", **fields}])


def test_a_well_formed_story_becomes_a_model() -> None:
    parsed = parse_manifest(story())
    assert isinstance(parsed, Story)
    assert parsed.spec.steps[0].ref is not None
    assert parsed.spec.steps[0].ref.name == "http"


def test_defaults_of_the_schema_are_seen_but_not_written_back() -> None:
    parsed = parse_manifest(story(policy={"retries": {"stepRetryPolicy": {}}}))
    assert isinstance(parsed, Story)
    assert parsed.spec.pattern == "batch"
    assert parsed.spec.policy is not None
    assert parsed.spec.policy.retries is not None
    assert parsed.spec.policy.retries.step_retry_policy is not None
    assert parsed.spec.policy.retries.step_retry_policy.max_retries == 3
    assert to_wire(parsed) == story(policy={"retries": {"stepRetryPolicy": {}}})


@functools.cache
def drawn(plural: str, version: int) -> st.SearchStrategy[Any]:
    """Documents of a kind. Cached, because rendering the definition takes longer than drawing one document."""
    kind = next(kind for kind in KINDS if kind.resource.plural == plural)
    definition = custom_resource_definition(kind, ConversionService("n", "s", "/convert"))
    return documents(definition["spec"]["versions"][version]["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize(
    ("kind", "version"),
    [(kind, index) for kind in KINDS for index in range(len(kind.versions))],
    ids=[f"{kind.resource.kind} {version.name}" for kind in KINDS for version in kind.versions],
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_the_schema_accepts_the_model_accepts_and_writes_back_unchanged(
    kind: Kind, version: int, data: st.DataObject
) -> None:
    document = data.draw(drawn(kind.resource.plural, version)) | {
        "apiVersion": f"{kind.resource.group}/{kind.versions[version].name}",
        "kind": kind.resource.kind,
        "metadata": {"name": "x", "labels": {"a": "b"}},
    }
    before = copy.deepcopy(document)
    assert errors_of(document) == []
    assert to_wire(parse_manifest(document)) == before


def test_every_finding_is_reported_at_once() -> None:
    broken = story(pattern="bach", policy={"priority": -1, "queue": True}, concurrency=3)
    assert [error.path for error in errors_of(broken)] == [
        "spec.concurrency",
        "spec.pattern",
        "spec.policy.priority",
        "spec.policy.queue",
    ]


def test_the_exception_carries_the_findings_and_reads_as_one_line() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(step(timeout="3s"))
    assert caught.value.errors == (
        FieldError("spec.steps[0].timeout", "unknown field", "did you mean execution.timeout?"),
    )
    assert str(caught.value) == "spec.steps[0].timeout: unknown field (did you mean execution.timeout?)"


@pytest.mark.parametrize(
    ("document", "path", "message", "remedy"),
    [
        pytest.param(step(need=["a"]), "spec.steps[0].need", "unknown field", "did you mean needs?", id="misspelt"),
        pytest.param(
            step(allow_failure=True),
            "spec.steps[0].allow_failure",
            "unknown field",
            "did you mean allowFailure?",
            id="snake",
        ),
        pytest.param(
            step(retrys={}), "spec.steps[0].retrys", "unknown field", "did you mean execution.retry?", id="wrong level"
        ),
        pytest.param(
            step(postExecution={"condition": "x", "qqq": 1}),
            "spec.steps[0].postExecution.qqq",
            "unknown field",
            "remove it, or use one of condition, failureMessage",
            id="nothing alike",
        ),
        pytest.param(
            {**story(), "metadata": {"label": {}}},
            "metadata.label",
            "unknown field",
            "did you mean labels?",
            id="metadata",
        ),
        pytest.param(
            {**story(), "extra": 1},
            "extra",
            "unknown field",
            "remove it, or use one of apiVersion, kind, metadata, spec, status",
            id="top level",
        ),
        pytest.param(
            {**story(), "status": {"transports": [{"name": "a", "transportRef": "b", "mod": "hot"}]}},
            "status.transports[0].mod",
            "unknown field",
            "did you mean mode?",
            id="inside a list",
        ),
        pytest.param(
            step(name="Not A Label"),
            "spec.steps[0].name",
            "must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "use lower-case letters, digits and dashes; begin and end with a letter or digit",
            id="pattern",
        ),
        pytest.param(step(type="loop"), "spec.steps[0].type", None, None, id="enum"),
        pytest.param(
            step(execution={"retry": {"maxRetries": 11}}),
            "spec.steps[0].execution.retry.maxRetries",
            "must be at most 10",
            "",
            id="maximum",
        ),
        pytest.param(
            step(execution={"retry": {"maxRetries": "3"}}),
            "spec.steps[0].execution.retry.maxRetries",
            "must be an integer",
            "write a whole number without quotes",
            id="quoted number",
        ),
        pytest.param(
            step(execution={"debug": "true"}),
            "spec.steps[0].execution.debug",
            "must be true or false",
            "write true or false without quotes",
            id="quoted boolean",
        ),
        pytest.param(
            step(execution={"cache": {"ttlSeconds": 2**31}}),
            "spec.steps[0].execution.cache.ttlSeconds",
            "must fit into 32 bits",
            "",
            id="int32",
        ),
        pytest.param(
            step(execution={"storage": {"file": {"emptyDir": {"sizeLimit": "1Gx"}}}}),
            "spec.steps[0].execution.storage.file.emptyDir.sizeLimit",
            "'1Gx' is not a quantity",
            "write for example 500m, 128Mi or 2",
            id="quantity",
        ),
        pytest.param(
            step(execution={"storage": {"file": {"emptyDir": {"sizeLimit": True}}}}),
            "spec.steps[0].execution.storage.file.emptyDir.sizeLimit",
            "must be an integer or a string",
            "",
            id="quantity type",
        ),
        pytest.param(
            step(secrets={"a.b": 3}),
            'spec.steps[0].secrets["a.b"]',
            "must be a string",
            "put the value in quotes",
            id="map value",
        ),
        pytest.param(step(needs="a"), "spec.steps[0].needs", "must be a list", None, id="list"),
        pytest.param(
            step(**{"with": []}), "spec.steps[0].with", "must be an object", "write key: value pairs", id="object"
        ),
        pytest.param(story(steps=[]), "spec.steps", "must have at least 1 items", "add some", id="too few"),
        pytest.param(
            story(steps=[{"name": f"s{n}"} for n in range(101)]),
            "spec.steps",
            "must have at most 100 items",
            "remove some",
            id="too many",
        ),
        pytest.param(story(steps=[{}]), "spec.steps[0].name", "is required", "add name", id="missing"),
        pytest.param(
            story(version="v" * 65), "spec.version", "must have at most 64 characters", "shorten it", id="long"
        ),
        pytest.param(
            step(postExecution={"condition": ""}),
            "spec.steps[0].postExecution.condition",
            "must not be empty",
            None,
            id="short",
        ),
        pytest.param(
            {**story(), "status": {"conditions": [{**CONDITION, "lastTransitionTime": "2026-01-02T03:04:05Z"}] * 2}},
            "status.conditions",
            "must hold each type at most once",
            "remove the older one",
            id="duplicate condition",
        ),
        pytest.param(
            {**story(), "status": {"conditions": [{**CONDITION, "lastTransitionTime": "today"}]}},
            "status.conditions[0].lastTransitionTime",
            "'today' is not an instant",
            "write for example 2026-01-02T03:04:05Z",
            id="instant",
        ),
    ],
)
def test_each_finding_names_path_message_and_remedy(
    document: dict[str, Any], path: str, message: str | None, remedy: str | None
) -> None:
    (error,) = errors_of(document)
    assert error.path == path
    assert message is None or error.message == message
    assert remedy is None or error.remedy == remedy


def test_enum_findings_list_the_words() -> None:
    (error,) = errors_of(story(pattern="stream"))
    assert error == FieldError(
        "spec.pattern", "must be 'batch' or 'realtime'", "use one of these values, in this spelling"
    )


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param([], ["must be an object"], id="not an object"),
        pytest.param({}, ["is required", "is required"], id="empty"),
        pytest.param({"apiVersion": 1, "kind": "Story"}, ["must be a string"], id="number"),
        pytest.param({"apiVersion": "bubustack.io/v1alpha1", "kind": "Storey"}, ["unknown kind 'Storey'"], id="kind"),
        pytest.param(
            {"apiVersion": "bubustack.io/v9", "kind": "Story"},
            ["Story does not exist in 'bubustack.io/v9'"],
            id="version",
        ),
    ],
)
def test_documents_that_name_none_of_our_kinds_are_refused(document: Any, expected: list[str]) -> None:
    errors = errors_of(document)
    assert [error.message for error in errors] == expected
    assert all(error.remedy for error in errors)


def test_a_kind_in_the_wrong_group_is_told_the_right_one() -> None:
    (error,) = errors_of({"apiVersion": "bubustack.io/v1alpha1", "kind": "StoryRun"})
    assert error.remedy == "use runs.bubustack.io/v1alpha1"


def test_nulls_count_as_absent_but_not_for_required_fields() -> None:
    assert errors_of(story(version=None, policy={"queue": None})) == []
    (error,) = errors_of(story(steps=None))
    assert error.path == "spec.steps"


def test_words_of_shared_enums_are_written_back_as_plain_text() -> None:
    run = {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StoryRun",
        "spec": {"storyRef": {"name": "a"}},
        "status": {"phase": "Running", "stepStates": {"a": {"phase": "Pending"}}},
    }
    written = to_wire(parse_manifest(run))
    assert written == run
    assert type(written["status"]["phase"]) is str


def test_models_are_frozen() -> None:
    parsed = parse_manifest(story())
    with pytest.raises(ValueError, match="frozen"):
        parsed.kind = "Other"
