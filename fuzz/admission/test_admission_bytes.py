"""Any bytes at any path: admission returns a decision or one sentence, never fails, and never exceeds its limits."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterator
from typing import Any

import orjson
import trio
from hypothesis import event, given
from hypothesis import strategies as st
from quart_trio import QuartTrio

from core.policy.settings import OperatorSettings
from fuzz.admission import seeds
from fuzz.admission.asking import Answer, Asked, ask
from fuzz.engine.profile import budget
from webhooks.app import admission_app
from webhooks.cluster_view import InMemoryView
from webhooks.conversion.review import answer as convert
from webhooks.limits import ReviewLimits
from webhooks.registration import CONVERT_PATH, HOOKS
from webhooks.setup import AdmissionSetup

WORLD = InMemoryView(seeds.world(), settings=OperatorSettings())
ON_THE_LOOP = ReviewLimits(patient=0, loop_bytes=1 << 30, loop_templates=1 << 30, loop_seconds=60, seconds=60)
IN_A_PROCESS = ReviewLimits(patient=0, loop_bytes=0, seconds=60)
REVIEWS = tuple(hook.path for hook in HOOKS)
PATHS = (*REVIEWS, CONVERT_PATH)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", " ", "{{", "{{ steps.a.output.x }}", "{{ range $x := inputs }}{{ end }}", "steps.a.b == 1"])
    | st.sampled_from(["2026-01-01T00:00:00Z", "-1s", "1h", "999999999h", "status", "$bubuSecretRef", "a/b:c"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
LONG = st.sampled_from([1, 250, 254, 1_000, 5_000, 100_000])


async def _never() -> None:
    await trio.sleep_forever()


def served(limits: ReviewLimits) -> QuartTrio:
    gate = AdmissionSetup(world=lambda: WORLD, operator="operator", trouble=lambda: "", changed=_never, convert=convert)
    return admission_app(gate, limits)


SERVED = served(ON_THE_LOOP)
"""One for all requests, as in an operator. To build it takes ten times as long as an answer."""


def told(asked: Asked, app: QuartTrio = SERVED) -> Answer:
    """Returns the answer, after a check that it is safe for an unknown client."""
    answer = trio.run(ask, app, asked)
    event(str(answer.status))
    assert answer.status < 500, (asked.path, asked.body, answer)
    assert b"Traceback" not in answer.body
    assert len(answer.body) < 2 << 20
    if answer.status == 200 and asked.path in REVIEWS:
        review = orjson.loads(answer.body)
        assert review["kind"] == "AdmissionReview"
        assert isinstance(review["response"]["uid"], str)
        assert review["response"]["allowed"] in (True, False)
    elif answer.status != 200:
        assert len(answer.body) < 400
        assert answer.body.count(b"\n") == 1
    return answer


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, child in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield value, key
        yield from _places(child)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid review in which a few values are replaced or removed."""
    path, review = draw(st.sampled_from(seeds.reviews()))
    review = copy.deepcopy(review)
    for _ in range(draw(st.integers(0, 4))):
        places = list(_places(review))
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        if draw(st.booleans()):
            parent[key] = draw(JSON)
        elif isinstance(parent, dict):
            del parent[key]
        else:
            parent.insert(key, draw(JSON))
        if not isinstance(review, dict) or not list(_places(review)):
            break
    return path, _written(review)


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # for integers of more than 64 bits
        import json

        return json.dumps(value).encode("utf-8", "replace")


@given(path=st.sampled_from([*PATHS, "/", "/healthz", "/nope", "/%00"]), body=st.binary(max_size=200))
@budget(bounded=150, deep=2_000)
def test_any_bytes(path: str, body: bytes) -> None:
    told(Asked(path, [body]))


@given(
    path=st.sampled_from([*PATHS, "/healthz"]),
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"]),
    query=st.binary(max_size=40),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "content-length", "accept", "cookie", "expect", "content-encoding"]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    ),
)
@budget(bounded=150, deep=2_000)
def test_any_request_line_and_headers(path: str, method: str, query: bytes, headers: dict[str, str]) -> None:
    told(Asked(path, [b"{}"], method, query, headers))
    told(Asked(path, [b"{}"], "POST", query, {**headers, "content-type": "application/json"}))


@given(path=st.sampled_from(PATHS), value=JSON)
@budget(bounded=150, deep=2_000)
def test_any_json(path: str, value: Any) -> None:
    told(Asked(path, [_written(value)]))
    told(Asked(path, [_written({"request": value})]))
    told(Asked(path, [_written({"request": {"uid": "u", "object": value}})]))


@given(review=spoilt())
@budget(bounded=300, deep=5_000)
def test_reviews_that_are_a_little_wrong(review: tuple[str, bytes]) -> None:
    told(Asked(review[0], [review[1]]))


@given(review=spoilt(), other=st.sampled_from(PATHS))
@budget(bounded=150, deep=2_000)
def test_reviews_at_another_path(review: tuple[str, bytes], other: str) -> None:
    told(Asked(other, [review[1]]))


@given(
    review=spoilt(),
    at=st.integers(0, 4_000),
    junk=st.binary(max_size=6),
    split=st.integers(0, 4_000),
)
@budget(bounded=150, deep=2_000)
def test_reviews_with_bytes_among_them(review: tuple[str, bytes], at: int, junk: bytes, split: int) -> None:
    path, body = review
    body = body[:at] + junk + body[at:]
    told(Asked(path, [body[:split], body[split:]]))


@given(path=st.sampled_from(PATHS), levels=LONG, opening=st.sampled_from([b"[", b'{"a":', b'{"spec":[']))
@budget(bounded=60, deep=500)
def test_nesting(path: str, levels: int, opening: bytes) -> None:
    closing = b"".join({91: b"]", 123: b"}"}[byte] for byte in reversed(opening) if byte in b"[{")
    deep = opening * levels + b"0" + closing * levels
    told(Asked(path, [deep]))
    told(Asked(path, [b'{"request":{"uid":"u","object":' + deep + b"}}"]))


@given(review=st.sampled_from(seeds.reviews()), levels=st.sampled_from([100, 127, 128, 200, 240]))
@budget(bounded=60, deep=500)
def test_nesting_inside_an_object(review: tuple[str, dict[str, Any]], levels: int) -> None:
    path, body = copy.deepcopy(review)
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    for parent in (body["request"]["object"], body["request"]["oldObject"]):
        for key in ("spec", "status", "metadata"):
            if isinstance(parent.get(key), dict):
                parent[key]["with"] = value
    told(Asked(path, [orjson.dumps(body)]))


@given(path=st.sampled_from(PATHS), unit=st.sampled_from([b"[],", b"0,", b'"",', b"{},", b" ", b"\x00", b"{{"]))
@budget(bounded=20, deep=50)
def test_ten_megabytes(path: str, unit: bytes) -> None:
    part = unit * (100_000 // len(unit))
    answer = told(Asked(path, [b"[", *[part] * 100, b"0]"]))
    assert answer.status in (400, 413)


@given(review=spoilt())
@budget(bounded=12, deep=300)
def test_a_process_of_its_own_decides_the_same(review: tuple[str, bytes]) -> None:
    asked = Asked(review[0], [review[1]])
    assert _at_any_time(told(asked, served(IN_A_PROCESS))) == _at_any_time(told(asked))


def _at_any_time(answer: Answer) -> Any:
    """An answer with the instants in its patch replaced, because the clock moves between two answers."""
    body = orjson.loads(answer.body) if answer.status == 200 else answer.body
    if isinstance(body, dict) and (patch := (body.get("response") or {}).get("patch")):
        body["response"]["patch"] = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"now", base64.b64decode(patch))
    return answer.status, body
