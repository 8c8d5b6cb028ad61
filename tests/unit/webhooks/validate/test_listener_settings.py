"""Settings of the cron and webhook Impulses at admission, compared with the programs that read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from bubu_impulses.webhook.authentication import FACTS
from bubu_sdk.text_template import _ARITY, TemplateSyntaxError, TextTemplate
from core.api.objects import Object
from tests.integration.impulse_pages import PAGES, documents, impulse_in, template
from webhooks.cluster_view import Unseen
from webhooks.finding import Finding
from webhooks.validate import listener_settings
from webhooks.validate.listener_settings import check, cron_problem

NUMBERS = st.integers(0, 61).map(str)
WORDS = st.sampled_from(["MON", "sun", "JAN", "dec", "L", "LW", "*", "5L", "1#2", "MON#5", "6#6", "x", ""])
BASES = st.one_of(NUMBERS, WORDS, st.tuples(NUMBERS, NUMBERS).map("-".join), st.just("MON-FRI"))
TERMS = st.one_of(BASES, st.tuples(BASES, NUMBERS).map("/".join))
EXPRESSIONS = st.lists(st.lists(TERMS, min_size=1, max_size=2).map(",".join), min_size=4, max_size=6).map(" ".join)
PIECES = st.sampled_from(
    ["{{", "}}", " body", ".id", "headers", '["x"]', " | ", "lower", 'default "a|}}"', "toJson", "now", " ", "{", "a"]
)


def findings(name: str, settings: Any) -> list[Finding]:
    impulse: Object = {"spec": {"templateRef": {"name": name}, "with": settings}}
    return list(check(impulse, template(name)))


@given(EXPRESSIONS)
def test_a_cron_expression_that_the_program_accepts_is_not_warned_about(expression: str) -> None:
    if len(expression.split()) != 5:
        return
    try:
        CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        return
    except AssertionError:
        return  # of a step after a last day, on which the library fails
    assert cron_problem(expression) == ""


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("* * * *", "has 4 fields"),
        ("@daily", "has 1 fields"),
        ("60 * * * *", "minute '60'"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day of month"),
        ("0 0 * 13 *", "month '13' must be 1 to 12, JAN to DEC"),
        ("0 0 * * FUN", "day of week"),
        ("0 0 * * FRI-MON", "day of week"),
        ("*/0 * * * *", "minute"),
        ("0 0 * * L", "day of week"),
        ("1,,2 * * * *", "minute"),
    ],
)
def test_a_wrong_cron_expression_is_named_with_its_field(expression: str, named: str) -> None:
    with pytest.raises(CronSimError):
        CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
    assert named in cron_problem(expression)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_a_template_that_the_program_accepts_is_not_warned_about(text: str) -> None:
    try:
        TextTemplate(text, ("body", "headers"))
    except TemplateSyntaxError:
        return
    assert [each for each in findings("webhook", {"key": text}) if each.rule is listener_settings.TEMPLATE] == []


def test_the_functions_are_those_of_the_sdk() -> None:
    assert set(listener_settings.FUNCTIONS) == set(_ARITY)


@pytest.mark.parametrize(
    ("settings", "path", "remedy"),
    [
        ({"key": "{{ bdy.id }}"}, "spec.with.key", "did you mean body?"),
        ({"inputs": {"a": [{"b": "{{ body.id | lowr }}"}]}}, "spec.with.inputs.a[0].b", "did you mean lower?"),
        ({"inputs": {"a": "{{ body.id"}}, "spec.with.inputs.a", "write for example {{ body.id }}"),
        ({"inputs": {"a": "{{ env }}"}}, "spec.with.inputs.a", "a path begins with body or headers"),
    ],
)
def test_a_wrong_template_is_named_with_a_remedy(settings: Any, path: str, remedy: str) -> None:
    [finding] = findings("webhook", settings)
    assert (finding.path, finding.remedy) == (path, remedy)


@pytest.mark.parametrize(
    ("name", "meant"), [("Europe/Berln", "did you mean Europe/Berlin?"), ("Mars", "write an IANA name")]
)
def test_an_unknown_time_zone_gets_a_remedy(name: str, meant: str) -> None:
    [finding] = findings("cron", {"schedules": [{"name": "n", "timeZone": name}]})
    assert finding.path == "spec.with.schedules[0].timeZone"
    assert finding.remedy.startswith(meant)


@pytest.mark.parametrize(
    ("settings", "paths"),
    [
        ({"keyHeader": "X-Id"}, ["spec.with.keyHeader"]),
        ({"key": '{{ headers["x-id"] }}'}, ["spec.with.key"]),
        ({"key": "{{ body.id }}", "inputs": {"a": {"b": "{{ headers.x }}"}}}, ["spec.with.inputs.a.b"]),
        ({"key": "{{ body.headers }}"}, []),
        ({"keyHeader": "X-Id", "auth": {"type": "none"}}, []),
        ({"key": ""}, ["spec.with.key"]),
        ({"key": "", "auth": {"type": "stripe"}}, ["spec.with.key"]),
        ({"key": "", "auth": {"type": "bearer"}}, []),
        ({"auth": {"type": "standard"}}, []),
        ({"keyHeader": "Webhook-Id", "auth": {"type": "standard"}}, []),
        ({"keyHeader": "X-Id", "auth": {"type": "standard"}}, ["spec.with.keyHeader"]),
        ({"key": '{{ headers["webhook-id"] | lower }}', "auth": {"type": "standard"}}, []),
        ({"key": '{{ headers["webhook-id"] }}'}, ["spec.with.key"]),
        ({"key": "{{ headers | toJson }}", "auth": {"type": "standard"}}, ["spec.with.key"]),
        ({"key": '{{ headers["webhook-id"] }}{{ headers.x }}', "auth": {"type": "standard"}}, ["spec.with.key"]),
        ({"inputs": {"at": '{{ headers["x-slack-request-timestamp"] }}'}, "auth": {"type": "slack"}}, []),
    ],
)
def test_what_a_signature_does_not_cover_is_named(settings: Any, paths: list[str]) -> None:
    assert [each.path for each in findings("webhook", settings)] == paths


def test_the_signed_headers_are_those_of_the_program() -> None:
    facts = {str(scheme): each.signed_headers for scheme, each in FACTS.items() if each.signed is not None}

    assert {kind: frozenset(names) for kind, names in listener_settings.SIGNED_HEADERS.items()} == facts


@pytest.mark.parametrize("name", PAGES)
def test_the_settings_of_the_pages_are_accepted(name: str) -> None:
    assert findings(name, impulse_in(documents(name))["spec"]["with"]) == []


@pytest.mark.parametrize("odd", [None, 1, "x", [], [1], {"schedules": 1}, {"schedules": [1, {"cron": 1, "inputs": 1}]}])
def test_settings_of_another_shape_are_left_to_the_schema(odd: Any) -> None:
    assert findings("cron", odd) == findings("webhook", {"key": odd, "auth": odd}) == []
    assert list(check({"spec": {"with": odd}}, Unseen.UNKNOWN)) == []
