"""Harmful bodies are refused before their content is walked through."""

from __future__ import annotations

import orjson
import pytest

from webhooks import document
from webhooks.document import UnreadableError

MOST = 10_000


def why(raw: bytes) -> str:
    with pytest.raises(UnreadableError) as caught:
        document.read(raw, MOST)
    return str(caught.value)


def test_an_object_is_read() -> None:
    assert document.read(b' {"a": [1, 2.5, "\\u003c", null]} ', MOST) == {"a": [1, 2.5, "<", None]}


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        pytest.param(b"", "the body is empty", id="empty"),
        pytest.param(b" \n", "the body is empty", id="blank"),
        pytest.param(b"{", "the body is not valid JSON", id="cut off"),
        pytest.param(b'{"a": NaN}', "the body is not valid JSON", id="NaN"),
        pytest.param(b'{"a": 1e999}', "the body is not valid JSON: number is infinity", id="infinite"),
        pytest.param(b'{"a": "\xff"}', "the body is not valid JSON: str is not valid UTF-8", id="no UTF-8"),
        pytest.param(b'{"a": "\\ud800"}', "the body is not valid JSON", id="half a character"),
        pytest.param(b"[1]", "the body must be a JSON object", id="list"),
        pytest.param(b"[" * 1_000 + b"]" * 1_000, "the body is nested deeper than 254 levels", id="deep"),
        pytest.param(b"[" * 5_000 + b"]" * 5_000, "the body is not valid JSON: depth limit exceeded", id="deeper"),
        pytest.param(b"[" + b"[]," * 9_000 + b"[]]", "the body has more than 10000 values", id="many"),
        pytest.param(b'{"a": 1, "a": 2}', "the body has an object in which a key occurs twice", id="double"),
        pytest.param(
            b'{"x":{"a":1,"a":22}}', "the body has an object in which a key occurs twice", id="compact double"
        ),
    ],
)
def test_what_is_unreadable_is_told_in_a_sentence(raw: bytes, sentence: str) -> None:
    assert why(raw).startswith(sentence)


def test_no_refusal_repeats_what_was_sent() -> None:
    assert "password" not in why(b'{"password": password}')


def test_what_an_api_server_writes_is_not_searched_for_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = orjson.dumps({"a": "<&>" * 10, "b": [1, {"c": "é"}]})
    for character, escaped in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        raw = raw.replace(character, escaped)
    searched: list[bytes] = []
    monkeypatch.setattr("webhooks.document.json.loads", lambda text, **_: searched.append(text))

    document.read(raw, MOST)
    assert searched == []
    document.read(raw.replace(b",", b",    "), MOST)
    assert len(searched) == 1
