"""Validation rules of CustomResourceDefinitions, in CEL: messages, reasons, paths, transitions, ratcheting."""

from __future__ import annotations

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import JSON_PATCH, Api, ServerUnderTest
from tests.conformance.conformance_kinds import GROUP, definition, version, widget

INVALID = "FieldValueInvalid"


@pytest.mark.parametrize(
    ("spec", "cause", "text"),
    [
        ({"color": "black"}, (INVALID, "spec"), "spec: Invalid value: black is never fast"),
        (
            {"parts": [{"name": "bad"}]},
            (INVALID, "spec"),
            "failed rule: !has(self.parts) || self.parts.all(p, p.name != 'bad')",
        ),
        (
            {"range": {"low": 5, "high": 1}},
            ("FieldValueForbidden", "spec.range.low"),
            "spec.range.low: Forbidden: low is above high",
        ),
        (
            {"range": {"low": 55, "high": 1}},
            ("FieldValueForbidden", "spec.range.low"),
            "spec.range.low: Forbidden: low is far above high",
        ),
        ({"tags": ["a", "b", "c"]}, (INVALID, "spec"), "at most two tags at first"),
    ],
    ids=["message", "the rule itself", "message expression", "another message", "optional old self"],
)
async def test_a_broken_rule_is_told(api: Api, spec: Object, cause: tuple[str, str], text: str) -> None:
    answer = await api.post("widgets", widget("one", spec))
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {cause}
    assert text in answer.message


@pytest.mark.parametrize(
    "spec",
    [
        {"color": "black", "mode": "Slow"},
        {"range": {"low": 1, "high": 1}},
        {"range": {"high": 1}},
        {"tags": ["a", "b"]},
    ],
)
async def test_a_rule_that_holds_says_nothing(api: Api, spec: Object) -> None:
    await api.create("widgets", widget("one", spec))


async def test_defaults_are_there_when_rules_are_asked(api: Api) -> None:
    answer = await api.post("widgets", widget("one", {"color": "black"}))
    assert answer.code == 422, "mode is Fast by default"


async def test_a_transition_rule_is_not_asked_at_creation(api: Api) -> None:
    await api.create("widgets", widget("one", {"fixed": "a"}))
    answer = await api.patch("widgets", "one", {"spec": {"fixed": "b"}})
    assert answer.causes == {(INVALID, "spec.fixed")}
    assert "fixed cannot be changed" in answer.message


async def test_a_transition_rule_is_not_asked_when_the_field_comes_or_goes(api: Api) -> None:
    await api.create("widgets", widget("one"))
    assert (await api.patch("widgets", "one", {"spec": {"fixed": "a"}})).code == 200
    assert (await api.patch("widgets", "one", {"spec": {"fixed": None}})).code == 200


async def test_a_rule_of_the_parent_sees_a_field_go(api: Api) -> None:
    await api.create("widgets", widget("one", {"big": 1}))
    answer = await api.patch("widgets", "one", {"spec": {"big": None}})
    assert answer.causes == {(INVALID, "spec")}
    assert "big cannot be removed" in answer.message


async def test_a_rule_with_an_optional_old_self_knows_what_was_there(api: Api) -> None:
    await api.create("widgets", widget("one", {"tags": ["a"]}))
    assert (await api.patch("widgets", "one", {"spec": {"tags": ["a", "b", "c"]}})).code == 200


async def test_rules_are_not_asked_about_a_status_update(api: Api) -> None:
    await api.create("widgets", widget("one", {"fixed": "a"}))
    assert (await api.patch("widgets", "one", {"status": {"phase": "New"}}, subresource="status")).code == 200


async def test_several_rules_are_told_at_once(api: Api) -> None:
    answer = await api.post("widgets", widget("one", {"color": "black", "range": {"low": 2, "high": 1}}))
    assert answer.causes == {(INVALID, "spec"), ("FieldValueForbidden", "spec.range.low")}


async def test_what_is_already_broken_and_not_touched_may_stay(api: Api) -> None:
    """Ratcheting: a stricter definition does not lock existing objects."""
    loose = {"name": {"type": "string"}, "other": {"type": "string"}}
    crd = definition("ratchets", "Ratchet", version(spec=loose))
    kind = f"/apis/{GROUP}/v1/ratchets"
    await api.create("customresourcedefinitions", crd)
    await api.until_served(kind)
    body = {"apiVersion": f"{GROUP}/v1", "kind": "Ratchet", "metadata": {"name": "one"}, "spec": {"name": "ABC"}}
    await api.create(kind, body)
    rule = {"rule": "self == self.lowerAscii()", "message": "must be lower case"}
    strict = {"type": "string", "maxLength": 10, "pattern": "^[a-z]+$", "x-kubernetes-validations": [rule]}
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/name"
    change = [{"op": "replace", "path": path, "value": strict}]
    answer = await api.patch("customresourcedefinitions", crd["metadata"]["name"], change, JSON_PATCH)
    assert answer.code == 200, answer.message
    await api.until_refused(kind, {**body, "metadata": {"name": "two"}})
    assert (await api.patch(kind, "one", {"spec": {"other": "x"}})).code == 200
    answer = await api.patch(kind, "one", {"spec": {"name": "ABCD"}})
    assert (INVALID, "spec.name") in answer.causes
    await api.delete("customresourcedefinitions", crd["metadata"]["name"])


def ruled(*rules: Object, **fields: Object) -> Object:
    spec = {"n": {"type": "integer"}, "s": {"type": "string", "maxLength": 50}, **fields}
    found = version(spec=spec)
    found["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] = list(rules)
    return definition("faulties", "Faulty", found)


@pytest.mark.parametrize(
    ("rule", "field", "text"),
    [
        ({"rule": "cel.bind(x, self.n, x == x)"}, "rule", "undeclared reference to 'cel'"),
        ({"rule": "math.greatest(1, 2) == 2"}, "rule", "undeclared reference to 'math'"),
        ({"rule": "base64.encode(b'x') == 'eA=='"}, "rule", "undeclared reference to 'base64'"),
        ({"rule": "self.n >"}, "rule", "compilation failed"),
        ({"rule": "self.nothing == 1"}, "rule", "undefined field 'nothing'"),
        ({"rule": "1 + 1"}, "rule", "must evaluate to a bool"),
        ({"rule": ""}, "rule", "rule is not specified"),
        ({"rule": "1 == 'x'"}, "rule", "found no matching overload"),
        ({"rule": "true", "messageExpression": "1"}, "messageExpression", "must evaluate to a string"),
        ({"rule": "true", "reason": "Odd"}, "reason", "Unsupported value"),
        ({"rule": "true", "fieldPath": ".nothing"}, "fieldPath", "must be a valid path"),
        ({"rule": "true", "message": "  "}, "message", "must be non-empty if specified"),
        ({"rule": "true", "optionalOldSelf": True}, "optionalOldSelf", "may not be set if oldSelf is not used"),
    ],
    ids=[
        "binding", "mathematics", "base64", "syntax", "unknown field", "no truth", "empty", "wrong type",
        "message no text", "reason", "path", "message", "optional without use",
    ],
)  # fmt: skip
async def test_a_rule_that_cannot_be_is_refused(api: Api, rule: Object, field: str, text: str) -> None:
    answer = await api.post("customresourcedefinitions", ruled(rule), dryRun="All")
    assert answer.refusal() == (422, "Invalid"), answer.body
    assert any(where.endswith(f"x-kubernetes-validations[0].{field}") for _, where in answer.causes)
    assert text in answer.message


@pytest.mark.parametrize(
    "rule",
    [
        "self.s.matches('^[a-z]*$') && self.s.size() < 10",
        "self.s.startsWith('a') || self.s.endsWith('z') || self.s.contains('m')",
        "self.s.lowerAscii() == self.s && self.s.split(',').size() > 0",
        "type(self.n) == int && double(self.n) >= 0.0",
        "[1, 2, 3].exists(x, x == self.n) || [1, 2].exists_one(x, x == self.n)",
        "[1, 2, 3].filter(x, x > 1).map(x, x * 2).size() == 2",
        "has(self.n) ? self.n in [1, 2, 3] : true",
        "timestamp('2026-01-01T00:00:00Z') < timestamp('2027-01-01T00:00:00Z') && duration('1h') > duration('1m')",
        "self.s.replace('a', 'b').indexOf('b') >= -1 && self.s.trim() == self.s",
        "'x'.charAt(0) == 'x' && 'abc'.substring(1, 2) == 'b'",
        "optional.of(1).orValue(2) == 1 && self.?n.hasValue()",
        "'%s is %d'.format(['a', 1]) == 'a is 1'",
        "strings.quote('x').size() == 3",
    ],
)
async def test_what_expressions_may_use(api: Api, rule: str) -> None:
    crd = ruled({"rule": rule})
    answer = await api.post("customresourcedefinitions", crd, dryRun="All")
    assert answer.code == 201, answer.message


@pytest.mark.parametrize(
    "rule",
    [
        "[3, 1, 2].isSorted() || [1, 2].sum() == 3",
        "self.s.find('[0-9]+') == '' || self.s.findAll('[0-9]+').size() > 0",
        "isURL(self.s) ? url(self.s).getScheme() == 'https' : true",
        "isQuantity('1Gi') && quantity('1Gi').isGreaterThan(quantity('1Mi'))",
        "isIP('10.0.0.1') && ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.0.0.1')",
        "!format.dns1123Label().validate('UP').hasValue() == false",
        "sets.contains([1, 2], [1]) && sets.intersects([1], [1, 2])",
        "semver('1.2.3').major() == 1",
        "{'a': 1}.all(k, v, v > 0)",
        "lists.range(3).size() == 3",
    ],
)
async def test_the_extension_libraries_work_or_are_refused(api: Api, server: ServerUnderTest, rule: str) -> None:
    answer = await api.post("customresourcedefinitions", ruled({"rule": rule}), dryRun="All")
    if server.refuses("CEL extension libraries"):
        assert answer.refusal() == (422, "Invalid")
        assert "undeclared reference to" in answer.message
    else:
        assert answer.code == 201, answer.message


async def test_the_same_problem_in_all_versions_is_told_once(api: Api) -> None:
    crd = ruled({"rule": "self.n >"})
    (first,) = crd["spec"]["versions"]
    crd["spec"]["versions"].append({**first, "name": "v2", "storage": False})
    answer = await api.post("customresourcedefinitions", crd, dryRun="All")
    (where,) = {field for _, field in answer.causes}
    assert where == "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"


async def test_a_problem_of_one_version_names_it(api: Api) -> None:
    crd = ruled({"rule": "self.n >"})
    crd["spec"]["versions"].append(version("v2", spec={"n": {"type": "integer"}}, storage=False))
    answer = await api.post("customresourcedefinitions", crd, dryRun="All")
    (where,) = {field for _, field in answer.causes}
    assert where.startswith("spec.versions[0].schema.openAPIV3Schema.")
