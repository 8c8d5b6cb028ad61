"""Which keys are safe to open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.payloads import key
from core.payloads.errors import PayloadError

KEYS = st.text(st.sampled_from([*"ab/.\\%2e\0\n~ é", "\ud800"]), max_size=12) | st.text(max_size=20)


@pytest.mark.parametrize(
    "text",
    [
        "outputs/default/sr-1-step/output.json",
        "outputs/default/sr-1-step/%2E%2E%2Fsr-2-step%2Foutput.json",
        "outputs/default/sr-1-step/items.0.body.json",
        "outputs/default/sr-1-step/größe in m².json",
        "a",
        "a\\b",
        "...",
    ],
)
def test_what_writers_make_is_safe(text: str) -> None:
    assert "/".join(key.segments(text)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("/etc/passwd", "must be relative"),
        ("\\etc", "must be relative"),
        ("a/../b", "without '..'"),
        ("..", "without '..'"),
        ("a\\..\\b", "without '..'"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        ("a/./b", "empty segment or '.'"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("a\ud800", "control character"),
        ("a/" * 512 + "b", "longer than 1024 bytes"),
        ("é" * 128, "segment of more than 255 bytes"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_what_is_no_plain_path_is_refused(text: str, problem: str) -> None:
    with pytest.raises(PayloadError, match=f"invalid storage reference .*{problem}"):
        key.segments(text)


@pytest.mark.parametrize(
    "text", ["outputs/prod/sr/output.json", "inputs/prod/x", "elsewhere/prod/a/b/c", "outputs/_shared/x"]
)
def test_the_second_segment_is_the_namespace_or_shared(text: str) -> None:
    key.check_namespace(text, "prod")


@pytest.mark.parametrize(
    "text",
    [
        "outputs/other/sr/prod/output.json",
        "prod/x/y",
        "outputs/prod",
        "outputs/production/x",
        "a/b/prod/x",
        "_shared/prod",
        "a/b/_shared/x",
        "output.json",
    ],
)
def test_an_object_of_another_namespace_is_refused_with_the_keys_that_may_be_read(text: str) -> None:
    with pytest.raises(PayloadError, match=r"namespace 'prod'.*'outputs/prod/'"):
        key.check_namespace(text, "prod")


def test_without_a_namespace_nothing_may_be_read() -> None:
    with pytest.raises(PayloadError):
        key.check_namespace("outputs//x", "")


@given(KEYS, st.sampled_from(["a", "b", ".", "..", ""]))
def test_no_key_that_is_let_through_leads_up_or_aside(text: str, namespace: str) -> None:
    try:
        key.check_namespace(text, namespace)
    except PayloadError:
        return
    parts = text.split("/")
    assert parts[1] in (namespace, "_shared")
    assert not {"", ".", ".."} & set(parts)
    assert ".." not in text.replace("\\", "/").split("/")


@given(KEYS)
def test_a_complaint_fits_on_a_line(text: str) -> None:
    with pytest.raises(PayloadError) as caught:
        key.segments(f"{text}/../{text}")

    assert str(caught.value).isprintable()
