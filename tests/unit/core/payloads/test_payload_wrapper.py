"""The format of stored objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.payloads.errors import PayloadError
from core.payloads.wrapper import MAX_CONTAINERS, unwrap

SECRET = "hunter2"


def wrapped(data: Any, kind: str = "json") -> bytes:
    return json.dumps({"contentType": kind, "data": data}, separators=(",", ":")).encode()


@pytest.mark.parametrize("data", [None, 0, "text", [1, {"a": None}], {"é<&>": "\u2028"}, ["x" * 100_000]], ids=str)
async def test_the_data_comes_out_of_it(data: Any) -> None:
    assert await unwrap(wrapped(data), "k") == data


async def test_a_raw_text_stays_a_text() -> None:
    assert await unwrap(wrapped("[1]", "raw"), "k") == "[1]"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b'{"contentType":"json","data":"hunter2', "is not JSON"),
        (b'{"contentType":"json","data":"hunter2\xff"}', "is not JSON"),
        (b'["hunter2"]', "is not a payload"),
        (b'{"contentType":"hunter2","data":1}', "is not a payload"),
        (b'{"contentType":["json"],"data":1}', "is not a payload"),
        (b'{"contentType":"json"}', "is not a payload"),
        (b'{"contentType":"raw","data":["hunter2"]}', "contentType 'raw', but its data is not a string"),
        (b'{"contentType":"json","data":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested deeper than 1024"),
        (b'{"contentType":"json","data":[' + b"[]," * MAX_CONTAINERS + b"1]}", "more than 250,000 objects and lists"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_anything_else_is_refused_without_a_word_of_what_is_in_it(content: bytes, problem: str) -> None:
    with pytest.raises(PayloadError, match=f"the stored object 'outputs/ns/k' .*{problem}") as caught:
        await unwrap(content, "outputs/ns/k")

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_text_may_have_any_number_of_brackets() -> None:
    text = "[" * (MAX_CONTAINERS + 1)

    assert await unwrap(wrapped(text, "raw"), "k") == text
