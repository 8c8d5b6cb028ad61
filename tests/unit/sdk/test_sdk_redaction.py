"""Messages contain no credentials."""

from __future__ import annotations

import time

import pytest

from bubu_sdk import redaction
from tests.unit.secret_names import NAMES_OF_OTHERS, NAMES_OF_SECRETS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [REDACTED]"),
        ("authorization: basic Zm9v, next", "authorization: basic [REDACTED], next"),
        ("password=hunter2 and more", "password=[REDACTED] and more"),
        ('{"api_key": "k-1", "n": 1}', '{"api_key": "[REDACTED]", "n": 1}'),
        ("X-API-Key: k", "X-API-Key: [REDACTED]"),
        ("client-secret='a b' rest", "client-secret='[REDACTED]' rest"),
        ("https://h/?access_token=t&x=1", "https://h/?access_token=[REDACTED]&x=1"),
        ("DB_PASS=hunter2 jwt: a.b", "DB_PASS=[REDACTED] jwt: [REDACTED]"),
        (
            "ssh_key=k encryption-key=k webhook_url=k",
            "ssh_key=[REDACTED] encryption-key=[REDACTED] webhook_url=[REDACTED]",
        ),
        ("primary_key=3 bypass=1 key_name=n", "primary_key=3 bypass=1 key_name=n"),
        ("the token is gone", "the token is gone"),
        ("tokens: 3", "tokens: 3"),
    ],
)
def test_values_of_credential_keys_are_hidden(text: str, expected: str) -> None:
    assert redaction.redact(text) == expected


@pytest.mark.parametrize("name", NAMES_OF_SECRETS)
def test_the_names_of_secrets_are_those_of_the_operator_and_its_command(name: str) -> None:
    assert redaction.redact(f"{name}=hunter-22 x") == f"{name}=[REDACTED] x"
    assert redaction.redact(f'{{"{name}": "hunter-22"}}') == f'{{"{name}": "[REDACTED]"}}'
    assert redaction.hidden({name: "hunter-22"}) == {name: "[REDACTED]"}


@pytest.mark.parametrize("name", NAMES_OF_OTHERS)
def test_a_value_under_another_name_is_shown(name: str) -> None:
    assert redaction.redact(f"{name}=hunter-22") == f"{name}=hunter-22"
    assert redaction.hidden({name: "hunter-22"}) == {name: "hunter-22"}


def test_a_long_name_takes_no_more_time_than_in_proportion() -> None:
    began = time.process_time()

    redaction.hidden({"aPassword_" * 20_000 + "x": "v"})

    assert time.process_time() - began < 3


def test_a_message_is_cut_at_a_character_boundary() -> None:
    message = redaction.public_message("é" * 5000)

    assert len(message.encode()) == 8192
    assert set(message) == {"é"}


def test_an_odd_cut_drops_the_broken_character() -> None:
    assert redaction.cut("aé", 2) == "a"


def test_known_secrets_are_hidden_in_all_their_forms() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nshort\n-----END KEY-----"
    with redaction.scope():
        redaction.know(["hunter-2", "hunter", key, "no"])

        assert redaction.redact("hunter-2 and hunter say no") == "[REDACTED] and [REDACTED] say no"
        assert redaction.redact(f"{key!r}") == "'[REDACTED]'"
        assert redaction.redact("line MIIEvQIBADANBgkqhkiG9w0BAQEF of it") == "line [REDACTED] of it"
    assert redaction.redact("hunter-2") == "hunter-2"


def test_data_is_hidden_in_every_text_and_below_names_of_credentials() -> None:
    with redaction.scope():
        redaction.know(["hunter-2"])
        data = {"a": ["x hunter-2", 3, None], "Token": "t", "tokens": 5, "odd": {"hunter-2"}, "hunter-2": True}

        assert redaction.hidden(data) == {
            "a": ["x [REDACTED]", 3, None],
            "Token": "[REDACTED]",
            "tokens": 5,
            "odd": "{'[REDACTED]'}",
            "[REDACTED]": True,
        }


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_secret_is_hidden_in_what_is_printed_however_it_is_divided(size: int) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n-----END KEY-----"
    with redaction.scope():
        redaction.know(["hunter-2", key])
        printed, masking = f"a hunter-2 hunter-3 {key}\nhunt".encode(), redaction.Masking()
        parts = [masking.feed(printed[at : at + size]) for at in range(0, len(printed), size)]

        assert b"".join([*parts, masking.end()]) == b"a [REDACTED] hunter-3 [REDACTED]\nhunt"


def test_text_that_is_no_beginning_of_a_secret_is_printed_at_once() -> None:
    with redaction.scope():
        redaction.know(["hunter-2"])
        masking = redaction.Masking()

        assert masking.feed(b"progress ...") == b"progress ..."
        assert masking.feed(b"hunt") == b""
        assert masking.feed(b"ing") == b"hunting"
