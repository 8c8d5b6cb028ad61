"""The Secret with the keys of the hub. (core/workloads/hub_key.py)"""

from __future__ import annotations

import base64

import pytest

from core.api.objects import Object
from core.workloads.binding_token import is_genuine, issue_token, read_identity
from core.workloads.hub_key import HubKeyError, hub_key_secret, keys_of_secret, new_hub_key, parse_keys


def secret(text: bytes) -> Object:
    return {"data": {"keys": base64.b64encode(text).decode()}}


def test_a_new_secret_has_one_key_that_signs_tokens() -> None:
    made = hub_key_secret("system", new_hub_key())
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("bobrapet-hub-key", "system")
    (key,) = keys_of_secret(made)
    identity = read_identity(f"team/{issue_token(key, 'team', 'b', 'uid', 1)}")
    assert is_genuine(identity, "uid", [key])
    assert new_hub_key() != new_hub_key()


def test_every_line_is_a_key_and_the_first_one_signs() -> None:
    assert keys_of_secret(secret(b"a" * 32 + b"\n\n " + b"b" * 40 + b" \n")) == (b"a" * 32, b"b" * 40)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({}, "must have the entry keys"),
        ({"data": None}, "must have the entry keys"),
        ({"data": {"keys": 7}}, "must have the entry keys"),
        ({"data": {"keys": "***"}}, "must be base64"),
        (secret(b"\n \n"), "there is no key"),
        (secret(b"a" * 32 + b"\nshort"), "at least 32"),
    ],
)
def test_a_secret_without_usable_keys_says_what_must_be_there(found: Object, problem: str) -> None:
    with pytest.raises(HubKeyError, match=problem) as error:
        keys_of_secret(found)
    assert "short" not in str(error.value)


def test_keys_of_a_file_are_read_in_the_same_way() -> None:
    assert parse_keys(b"k" * 64 + b"\n") == (b"k" * 64,)
