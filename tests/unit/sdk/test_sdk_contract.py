"""The environment of a container."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bubu_sdk import contract, secret
from bubu_sdk.contract import Identity
from bubu_sdk.errors import ContextError, SecretError

NOW = datetime(2025, 1, 2, tzinfo=UTC)


def load(**environ: str) -> contract.Environment:
    return contract.load(environ, now=NOW)


def test_nothing_but_defaults_is_a_valid_environment() -> None:
    environment = load()

    assert environment.step_timeout_seconds == 1800
    assert environment.max_inline_bytes == 1024
    assert environment.max_depth == 10
    assert environment.grace_seconds == 20
    assert environment.started_at == NOW
    assert environment.trigger_data == {}
    assert environment.warnings == ()


def test_single_config_variables_win_over_the_step_config() -> None:
    environment = load(BUBU_STEP_CONFIG='{"unit":"C","days":3}', BUBU_CONFIG_unit="F")

    assert environment.step_config == {"unit": "F", "days": 3}


@pytest.mark.parametrize("name", ["BUBU_TRIGGER_DATA", "BUBU_STEP_CONFIG", "BUBU_TEMPLATE_CONTEXT"])
def test_a_malformed_document_names_its_variable(name: str) -> None:
    with pytest.raises(ContextError, match=f"{name} is not valid JSON"):
        load(**{name: "{"})
    with pytest.raises(ContextError, match=f"{name} must be a JSON object, not list"):
        load(**{name: "[]"})
    assert load(**{name: "null"}).trigger_data == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "must be a JSON array"),
        ("[1]", r"BUBU_TRANSPORTS\[0\] must be an object"),
        ('[{"name":"a"}]', r"BUBU_TRANSPORTS\[0\] needs a name and a kind"),
        ('[{"name":"a","kind":"k"},{"name":" a ","kind":"k"}]', r"BUBU_TRANSPORTS\[1\]: the name 'a' is used twice"),
        ('[{"name":"a","kind":"k","mode":"cold"}]', "neither 'hot' nor 'fallback'"),
    ],
)
def test_a_malformed_transport_is_named(text: str, message: str) -> None:
    with pytest.raises(ContextError, match=message):
        load(BUBU_TRANSPORTS=text)


def test_transports_get_their_default_mode() -> None:
    assert load(BUBU_TRANSPORTS='[{"name":" a ","kind":"k"}]').transports == (
        {"name": "a", "kind": "k", "mode": "hot", "typedConfig": {}},
    )


def test_invalid_numbers_are_warnings_not_errors() -> None:
    environment = load(BUBU_STEP_TIMEOUT="soon", BUBU_MAX_RECURSION_DEPTH="-1", BUBU_STARTED_AT="yesterday")

    assert environment.step_timeout_seconds == 1800
    assert environment.max_depth == 10
    assert [text.split()[0] for text in environment.warnings] == [
        "BUBU_STARTED_AT",
        "BUBU_STEP_TIMEOUT",
        "BUBU_MAX_RECURSION_DEPTH",
    ]


@pytest.mark.parametrize("mode", ["", "batch", " JOB ", "hybrid"])
def test_batch_modes_are_accepted(mode: str) -> None:
    assert load(BUBU_EXECUTION_MODE=mode).debug is False


def test_a_streaming_mode_is_refused_with_the_remedy() -> None:
    with pytest.raises(ContextError, match="this program is a batch engram"):
        load(BUBU_EXECUTION_MODE="realtime")


@pytest.mark.parametrize("text", ["-1", "many"])
def test_an_invalid_inline_limit_is_refused(text: str) -> None:
    with pytest.raises(ContextError, match="BUBU_MAX_INLINE_SIZE"):
        load(BUBU_MAX_INLINE_SIZE=text)


@pytest.mark.parametrize(("text", "retries"), [("", 5), ("x", 5), ("-3", 0), ("2", 2)])
def test_the_number_of_patch_retries(text: str, retries: int) -> None:
    assert load(BUBU_K8S_PATCH_MAX_RETRIES=text).patch_retries == retries


def test_the_idempotency_key_names_the_step_run() -> None:
    identity = Identity(namespace="ns", story_run="run", step_run="run-step")

    assert identity.idempotency_key == "ns/ns/storyrun/run/steprun/run-step"
    assert Identity(story_run="run", step_run="s").idempotency_key == "storyrun/run/steprun/s"


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (Identity(namespace="ns", engram="http"), "bubu://engram/ns/http/output"),
        (Identity(namespace="ns", story="st", step="a"), "bubu://story/ns/st/steps/a/output"),
        (Identity(story="st", step="a"), "bubu://story/st/steps/a/output"),
        (Identity(namespace="ns"), ""),
    ],
)
def test_the_schema_id_of_an_output(identity: Identity, expected: str) -> None:
    assert identity.schema_id("output") == expected


def test_descriptors_skip_names_and_nested_variables() -> None:
    environment = load(BUBU_SECRET_api="env:api_", BUBU_SECRET_api_NAME="openai", BUBU_SECRET_a__b="x")

    assert environment.secret_descriptors == {"api": "env:api_"}


def test_secrets_are_expanded_from_the_environment_and_literals() -> None:
    environ = {"api_token": "t", "api_user": "u", "other": "o"}

    secrets = secret.expand({"api": "env:api_", "user": "literal"}, environ)

    assert dict(secrets) == {"token": "t", "user": "literal"}
    assert secrets.select("token", "absent") == {"token": "t"}


def test_secrets_never_show_their_values() -> None:
    secrets = secret.expand({"a": "hunter2"}, {})

    assert "hunter2" not in f"{secrets!r} {secrets} {secrets.redacted()}"
    assert secrets["a"] == "hunter2"


def test_a_mounted_secret_is_read_through_its_links(tmp_path: Path) -> None:
    version = tmp_path / "mount" / "..2024_01_01"
    version.mkdir(parents=True)
    (version / "password").write_text("hunter2\n\n")
    (tmp_path / "mount" / "..data").symlink_to(version.name)
    (tmp_path / "mount" / "password").symlink_to("..data/password")
    (tmp_path / "outside").write_text("x")
    (tmp_path / "mount" / "escape").symlink_to(tmp_path / "outside")

    assert dict(secret.expand({"db": f"file:{tmp_path / 'mount'}"}, {})) == {"password": "hunter2"}


def test_a_failed_expansion_names_neither_path_nor_cause(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="secret expansion failed for 'db'") as caught:
        secret.expand({"db": f"file:{tmp_path / 'gone'}"}, {})

    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("descriptor", ["env:", "file:/dev/null"])
def test_descriptors_that_mean_nothing_are_refused(descriptor: str) -> None:
    with pytest.raises(SecretError):
        secret.expand({"x": descriptor}, {})


def test_a_secret_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "MAX_FILES", 1)
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")

    with pytest.raises(SecretError):
        secret.expand({"x": f"file:{tmp_path}"}, {})


def test_volumes_are_found_below_the_root_of_a_node_without_mounts(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "password").write_text("hunter2")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "db").symlink_to(tmp_path / "real")

    secrets = secret.expand({"db": "file:/etc/db"}, {"BUBU_VOLUME_ROOT": str(tmp_path / "root")})

    assert dict(secrets) == {"password": "hunter2"}
