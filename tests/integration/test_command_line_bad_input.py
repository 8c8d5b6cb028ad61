"""Bad input on the command line gives one clear message with file, line, field and remedy, and the right exit code."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.integration.commandline import MANIFESTS, CommandLine

STORY = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: story}
spec:
  steps:
    - name: one
      ref: {name: worker}
    - name: two
      ref: {name: worker}
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    """A command line without a cluster. A cluster that a command starts must be gone at the end."""
    line = CommandLine(tmp_path)
    yield line
    assert not line.processes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            STORY.replace("steps:", "steps: ["),
            "bad.yaml:6:5: does not parse",
            id="not YAML",
        ),
        pytest.param(
            STORY.replace("kind: Story", "kind: Tale"),
            "bad.yaml:2: kind: ",
            id="unknown kind",
        ),
        pytest.param(
            STORY.replace("ref: {name: worker}\n    -", "reff: {name: worker}\n    -"),
            "bad.yaml:7: spec.steps[0].reff: unknown field",
            id="unknown field",
        ),
        pytest.param(
            STORY.replace("- name: one\n", "- name: one\n      needs: [two]\n") + "      needs: [one]\n",
            "bad.yaml:6: spec.steps[0]: dependency cycle: one → two → one",
            id="cycle",
        ),
        pytest.param(
            STORY + "      with: {text: '{{ steps.one.output.rows | nosuch }}'}\n",
            "bad.yaml:10: spec.steps[1].with.text: ",
            id="template",
        ),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_before_anything_starts(
    line: CommandLine, text: str, message: str
) -> None:
    line.file("bad.yaml", MANIFESTS + "---\n" + text)
    offset = MANIFESTS.count("\n") + 1

    done = line.quick("run", "bad.yaml")

    assert done.code == 7
    assert _moved(message, offset) in done.err, done.err
    assert "Traceback" not in done.err
    assert not line.data.exists()


def _moved(message: str, lines: int) -> str:
    file, _, rest = message.partition(":")
    number = rest.split(":")[0]
    return message if not number.isdigit() else f"{file}:{int(number) + lines}{rest[len(number) :]}"


def test_inputs_that_break_the_schema_are_wrong_usage(line: CommandLine) -> None:
    schema = {
        "type": "object",
        "required": ["city"],
        "properties": {"city": {"type": "string"}, "limit": {"type": "integer"}},
    }
    file = line.story("one", inputsSchema=schema)

    missing = line.quick("run", file)
    wrong = line.quick("run", file, "--input=city=7", "--input=limit=ten")

    assert missing.code == wrong.code == 2
    assert 'inputs: "city" is a required property' in missing.err
    assert "inputs: limit: a string is not of type" in wrong.err
    assert "key:=value is always a string" in wrong.err
    assert not line.data.exists()


def test_missing_files_stories_and_flags(line: CommandLine) -> None:
    two = line.file("two.yaml", STORY + "---\n" + STORY.replace("name: story", "name: other"))
    for arguments, code, message in [
        (("run", "missing.yaml"), 1, "error: missing.yaml does not exist\n"),
        (("run", two), 2, "error: the files hold 2 Stories (story, other)\nhint: choose one with --story NAME\n"),
        (("run", two, "--input=city"), 2, "error: -i 'city' must be key=value\n"),
        (("run", two, "--story=story", "--timeout=soon"), 2, "error: --timeout: "),
        (("run", two, "--nosuch"), 2, "error: no such option: --nosuch\nhint: see bobrapet run --help\n"),
        (("submit",), 2, "error: give either STORY or -f FILE\n"),
        (("run", two, "--story=story", "--inputs=missing.json"), 2, "error: --inputs missing.json: No such file"),
        (("list", "--namespace=../x"), 2, "'../x' cannot be a namespace"),
        (("list", "--phase=failde"), 2, "error: --phase: there is no phase 'failde'\nhint: did you mean Failed?\n"),
        (("list", "--since=yesterday"), 2, "error: --since: 'yesterday' is not a duration"),
        (("list", "--request-timeout=0"), 2, "'0s' must be greater than zero"),
        (("version", "--client", "--output=xml"), 2, "error: version has no output format 'xml'\n"),
        (("cancel",), 2, "error: give either RUN or flags that select runs\n"),
        (("submit", "story", "--key=k", "--name=n"), 2, "error: --key names the run\n"),
        (("logs", "run", "--previous", "--follow"), 2, "error: --previous excludes --follow and --attempt\n"),
        (("logs", "run", "--raw", "-o", "json"), 2, "error: --raw excludes -o json\n"),
        (("logs", "run", "-o", "yaml"), 2, "error: logs has no output format 'yaml'\nhint: use json, jsonl or none\n"),
        (
            ("graph", two),
            2,
            "error: 'two.yaml' is a file, not a Story or a run\nhint: type: bobrapet graph -f two.yaml\n",
        ),
        (("up", "--port=99999"), 2, "error: invalid value for '--port'"),
    ]:
        done = line.quick(*arguments)

        assert done.code == code, done.err
        assert message in done.err
    assert not line.data.exists()


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        pytest.param(b"", 1, "no manifest in odd.yaml", id="empty"),
        pytest.param(b"\xff\xfe\x00", 1, "odd.yaml is not UTF-8 text (byte 0)", id="binary"),
        pytest.param(b"a: " + b"x" * (9 << 20), 1, "odd.yaml is larger than 8 MiB", id="huge"),
        pytest.param(b"kind: a\nkind: b\n", 7, 'odd.yaml:2:1: does not parse: found duplicate key "kind"', id="twice"),
        pytest.param(b"kind:\n\tname: a\n", 7, "odd.yaml:2:1: does not parse", id="tab"),
        pytest.param(b"a: " + b"[" * 600, 7, "odd.yaml: does not parse: something in it is nested", id="deep"),
        pytest.param(b"- 1\n", 7, "odd.yaml: a manifest must be an object with apiVersion and kind", id="list"),
        pytest.param(b"a: &a [*a]\n", 7, "odd.yaml:1: apiVersion: is required", id="endless"),
    ],
)
def test_files_that_are_no_manifests(line: CommandLine, content: bytes, code: int, message: str) -> None:
    (line.folder / "odd.yaml").write_bytes(content)

    done = line.quick("run", "odd.yaml")

    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"error: {message}"), done.err
    assert not line.data.exists()


def test_signs_that_the_terminal_does_not_know_are_spelt_out(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, {"PYTHONIOENCODING": "ascii"})
    story = line.file("story.yaml", MANIFESTS + "---\n" + STORY.replace("name: two", "name: two\n      needs: [one]"))

    assert line.bobrapet("graph", "--filename", story).out == "story\n  1  one\n  2  two  <- one\n"


def test_without_any_cluster_the_message_says_how_to_get_one(line: CommandLine) -> None:
    for arguments in (("list",), ("list", "--local")):
        done = line.quick(*arguments)

        assert done.code == 1
        assert f"no embedded cluster serves {line.data}" in done.err
        assert "bobrapet up" in done.err


def test_missing_engrams_and_templates_are_found_before_anything_is_applied(example_line: CommandLine) -> None:
    line = example_line
    text = MANIFESTS.replace("templateRef: {name: shell}", "templateRef: {name: shelf}") + "---\n" + STORY
    text = text.replace("name: story", "name: never-applied")
    line.file("bad.yaml", text.replace("ref: {name: worker}\n    -", "ref: {name: workers}\n    -"))
    done = line.quick("run", "bad.yaml")
    left = line.quick("graph", "never-applied")

    assert done.code == 7
    assert done.err == (
        "error: bad.yaml:9: spec.templateRef.name: EngramTemplate 'shelf' is neither in the files nor in the "
        "cluster (did you mean 'shell'?)\n"
        "bad.yaml:17: spec.steps[0].ref.name: Engram 'workers' is neither in the files nor in namespace default "
        "(did you mean 'worker'?)\n"
    )
    assert left.code == 1  # the Story was not created


def test_a_token_that_is_wrong_or_old_is_named(example_line: CommandLine) -> None:
    _check_wrong_identity(example_line, example_line.data / "kubeconfig")


def _check_wrong_identity(line: CommandLine, kubeconfig: Path) -> None:
    """Use the kubeconfig of a running cluster with tokens that are invalid or expired."""
    document = YAML(typ="safe").load(kubeconfig.read_text())
    expired = ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=")
        for part in (b'{"alg":"ES256"}', json.dumps({"exp": 1}).encode(), b"signature")
    )
    for name, token, why in (
        ("invalid", "nonsense", "the server does not accept the credentials of context 'localcluster'"),
        ("expired", expired, "the token of context 'localcluster' (expired) expired at 1970-01-01T00:00:01Z"),
    ):
        document["users"][0]["user"] = {"token": token}
        line.file(name, json.dumps(document))
        done = line.quick("list", f"--kubeconfig={name}")

        assert done.code == 1
        assert done.err.startswith(f"error: Unauthorized: {why}")
        assert "hint: a token or certificate may have expired: renew the kubeconfig\n" in done.err


def test_an_unreachable_server_and_a_bad_kubeconfig_are_named(line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://127.0.0.1:{closed.getsockname()[1]}"
    line.file(
        "nobody",
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                "users": [{"name": "c", "user": {}}],
                "current-context": "c",
            }
        ),
    )
    line.file("damaged", "clusters: [")
    for arguments, message in [
        (("list", "--kubeconfig=nobody"), url.removeprefix("https://")),
        (("list", "--kubeconfig=missing"), "kubeconfig missing does not exist"),
        (("list", "--kubeconfig=damaged"), "damaged"),
        (("list", "--kubeconfig=nobody", "--context=other"), "other"),
    ]:
        done = line.quick(*arguments)

        assert done.code == 1
        assert message in done.err
        assert done.err.startswith("error: ")
        assert "Traceback" not in done.err


def test_the_name_alone_prints_the_help_and_the_version_has_an_option(line: CommandLine) -> None:
    alone, helped, version = line.quick(), line.quick("--help"), line.quick("--version")

    assert (alone.code, alone.err) == (0, "")
    assert alone.out == helped.out
    assert alone.out.startswith("Usage: bobrapet [OPTIONS] COMMAND")
    assert (version.code, version.err) == (0, "")
    assert version.out.startswith("bobrapet 0.")
    assert line.quick("--version", "list").out == version.out
