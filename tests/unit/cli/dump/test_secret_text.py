from __future__ import annotations

import time

import pytest

from cli.dump.secret_text import SecretValues, is_secret_name, without_secrets
from core.telemetry.logs import REDACTED, redact
from hub.tap_sample import HiddenFields
from tests.unit.secret_names import NAMES_OF_OTHERS, NAMES_OF_SECRETS

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (f"got {JWT}.", f"got {REDACTED}."),
        (f"a {PEM} b", f"a {REDACTED} b"),
        (PEM[:40], REDACTED),
        ("key AKIAIOSFODNN7EXAMPLE", f"key {REDACTED}"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", REDACTED),
        ("xoxb-1234567890-abcdef", REDACTED),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", REDACTED),
        ("sk-proj-abcdefghijklmnop1234", REDACTED),
        ("hf_abcdefghijklmnopqrst", REDACTED),
        ("Authorization: Bearer abcdefgh12345678", f"Authorization: {REDACTED} {REDACTED}"),
        ("postgres://user:s3cret@db:5432/x", f"postgres://user:{REDACTED}@db:5432/x"),
        ("https://b.example/o?X-Amz-Signature=abcdef&x=1", f"https://b.example/o?X-Amz-Signature={REDACTED}&x=1"),
        ("password=hunter2 next", f"password={REDACTED} next"),
        ('{"dbPassword": "hun ter2", "a": 1}', f'{{"dbPassword": "{REDACTED}", "a": 1}}'),
        (r"{\"api_key\":\"hunter2\"}", rf"{{\"api_key\":\"{REDACTED}\"}}"),
        ("MY_API_KEY: hunter2", f"MY_API_KEY: {REDACTED}"),
        ("AccountKey=abc123==;EndpointSuffix=x", f"AccountKey={REDACTED};EndpointSuffix=x"),
    ],
)
def test_secrets_of_a_known_form_are_removed(text: str, rest: str) -> None:
    found, count = without_secrets(text)

    assert found == rest
    assert count >= 1


@pytest.mark.parametrize(
    "text",
    [
        "secretName: my-secret",
        "prompt_tokens: 532, total_tokens=900",
        "password: {{ inputs.password }}",
        "token: null",
        "the secret of success",
        "https://example.org/a?page=2",
        "sleeps for 3s; step a/b Succeeded",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert without_secrets(text) == (text, 0)


@pytest.mark.parametrize(
    "part", ["a.", "eyJaaaaaaaa-", "token=", "token='", "://a:", "password ", "-----BEGIN PRIVATE KEY----- "]
)
def test_a_hostile_text_takes_no_more_time_than_in_proportion(part: str) -> None:
    text = part * (200_000 // len(part))
    began = time.process_time()

    without_secrets(text)

    assert time.process_time() - began < 3


@pytest.mark.parametrize("name", ["apiKey", "DB_PASSWORD", "accessToken", "client-secret", "connectionString"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["secretName", "secrets", "keys", "city", "automountServiceAccountToken"])
def test_names_of_other_values_are_known(name: str) -> None:
    assert not is_secret_name(name)


def test_a_value_that_was_met_under_the_name_of_a_secret_is_removed_everywhere() -> None:
    values = SecretValues()
    values.learn('hunt"er2\n')

    assert values.hide('a hunt"er2 b {"x": "hunt\\"er2"}') == (f'a {REDACTED} b {{"x": "{REDACTED}"}}', 2)


@pytest.mark.parametrize("value", ["short", "default", "{{ inputs.token }}", "  "])
def test_words_and_templates_are_no_secrets(value: str) -> None:
    values = SecretValues()
    values.learn(value)

    assert values.hide(f"x {value} y") == (f"x {value} y", 0)


@pytest.mark.parametrize("name", NAMES_OF_SECRETS)
def test_a_value_under_the_name_of_a_secret_is_hidden_wherever_names_are_looked_at(name: str) -> None:
    assert is_secret_name(name)
    assert redact({name: "hunter-22"}) == {name: REDACTED}
    assert HiddenFields().hide(("payload", name))


@pytest.mark.parametrize("name", NAMES_OF_OTHERS)
def test_a_value_under_another_name_is_shown(name: str) -> None:
    assert not is_secret_name(name)
    assert without_secrets(f"{name}=hunter-22") == (f"{name}=hunter-22", 0)


@pytest.mark.parametrize("name", NAMES_OF_SECRETS)
def test_a_value_after_the_name_of_a_secret_is_hidden_and_learned(name: str) -> None:
    values = SecretValues()

    assert without_secrets(f"{name}=hunter/22", values.learn) == (f"{name}={REDACTED}", 1)
    assert values.hide("a hunter/22 hunter%2F22 aHVudGVyLzIy") == (f"a {REDACTED} {REDACTED} {REDACTED}", 3)
