"""Tokens: what is signed is accepted, and nothing else. (core/workloads/binding_token.py)"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.workloads.binding_token import BindingIdentity, TokenError, is_genuine, issue_token, read_identity

KEY = bytes(range(32))
OTHER = bytes(32)
SIGNATURE = "A" * 43
names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)


@given(names, names, st.text(max_size=40).filter(lambda text: "\0" not in text), st.integers(1, 10**10 - 1))
def test_a_token_is_accepted_for_its_own_binding(namespace: str, binding: str, uid: str, generation: int) -> None:
    identity = read_identity(f"{namespace}/{issue_token(KEY, namespace, binding, uid, generation)}")

    assert (identity.namespace, identity.binding, identity.generation) == (namespace, binding, generation)
    assert is_genuine(identity, uid, [KEY])
    assert is_genuine(identity, uid, [OTHER, KEY])
    assert not is_genuine(identity, uid, [OTHER])
    assert not is_genuine(identity, f"{uid}x", [KEY])
    assert not is_genuine(identity, uid, [])


@pytest.mark.parametrize(
    "changed",
    [
        {"namespace": "other"},
        {"binding": "other"},
        {"generation": 4},
        {"signature": "A" * 43},
    ],
)
def test_a_token_is_refused_for_anything_else(changed: dict[str, str | int]) -> None:
    genuine = read_identity(f"team/{issue_token(KEY, 'team', 'run-ask', 'uid-1', 3)}")
    fields = {"namespace": "team", "binding": "run-ask", "generation": 3, "signature": genuine.signature}

    assert is_genuine(BindingIdentity(**fields), "uid-1", [KEY])  # type: ignore[arg-type]  # a dict of two types
    assert not is_genuine(BindingIdentity(**fields | changed), "uid-1", [KEY])  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    "text",
    [
        *("", "team", "team/", "team/run-ask", "team/run-ask.g1"),
        *(f"team/run-ask.g0.{SIGNATURE}", f"/run-ask.g1.{SIGNATURE}", f"team/run-ask.g1.{SIGNATURE[1:]}"),
        *(f"team/run-ask.g1.{SIGNATURE}\n", f"{'a' * 600}/run-ask.g1.{SIGNATURE}"),
        *(f"team/run/ask.g1.{SIGNATURE}", f"team/run-ask.g١.{SIGNATURE}"),
    ],
)
def test_other_texts_are_no_identities(text: str) -> None:
    with pytest.raises(TokenError, match="must be"):
        read_identity(text)


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        identity = read_identity(text)
    except TokenError:
        return
    assert not is_genuine(identity, "uid", [KEY])


def test_weak_keys_and_impossible_generations_are_refused() -> None:
    with pytest.raises(TokenError, match="at least 32 bytes"):
        issue_token(b"short", "team", "run-ask", "uid", 1)
    for generation in (0, -1, 10**10):
        with pytest.raises(TokenError, match="generation must be"):
            issue_token(KEY, "team", "run-ask", "uid", generation)
