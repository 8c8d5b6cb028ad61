"""The pages about schedules and webhooks as users follow them: they apply an Impulse, and the operator runs it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration.commandline import REPOSITORY, CommandLine, wait_until
from tests.integration.impulse_pages import documents, impulse_in, template

BODY = {"action": "opened", "pull_request": {"number": 7}, "repository": {"full_name": "a/b"}}
SECRET = "it-is-ours"
TEMPLATES_PORT = 8080


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path)
    assert line.bobrapet("up", f"--image-map={REPOSITORY / 'impulses' / 'images.yaml'}").code == 0
    yield line
    line.bobrapet("down")
    line.wait_until_nothing_runs()


def test_an_applied_impulse_listens_and_starts_runs(line: CommandLine) -> None:
    port = _free_port()
    apply(line, "cron", schedules=[{"name": "often", "every": "1s", "catchUp": "skip"}], timeZone="UTC")
    apply(line, "webhook", port=port)
    wait_until(lambda: impulses(line)["pull-requests"]["status"]["phase"] == "Running")

    for listening in (port, port + 1):
        socket.create_connection(("127.0.0.1", listening)).close()
        with pytest.raises(ConnectionRefusedError):  # it would be accepted if the program listened on all addresses
            socket.create_connection(("127.0.0.2", listening))
    assert post(port, b"{}", signature="sha256=wrong")[0] == 401
    status, accepted = post(port, json.dumps(BODY).encode())
    assert status == 202, accepted
    path = f"/triggers/{accepted['trigger']}"
    wait_until(lambda: ask(port, path)[1]["decision"] == "Created")
    replayed = post(port, json.dumps(BODY).encode(), delivery="event-2")
    assert (replayed[0], replayed[1]["trigger"]) == (202, accepted["trigger"])

    wait_until(lambda: impulses(line)["pull-requests"]["status"]["storiesLaunched"] == 1)
    wait_until(lambda: impulses(line)["cron"]["status"]["storiesLaunched"] >= 2)
    assert impulses(line)["pull-requests"]["status"]["triggersReceived"] == 1
    assert SECRET not in line.quick("impulses", "--local", "-ojson").out
    why = json.loads(line.quick("why", "impulse/pull-requests", "--local", "-ojson").out)
    assert (why["ready"], why["causes"]) == (True, [])


def test_why_shows_the_port_that_is_taken(line: CommandLine) -> None:
    port = _free_port()
    with socket.create_server(("127.0.0.1", port)):
        apply(line, "webhook", port=port)
        trouble = f"port: cannot listen on 127.0.0.1:{port}: Address already in use"
        wait_until(lambda: trouble in " ".join(line.quick("why", "impulse/pull-requests", "--local").out.split()))

    wait_until(lambda: impulses(line)["pull-requests"]["status"]["phase"] == "Running")


def test_two_webhooks_listen_beside_another_program(line: CommandLine) -> None:
    with ExitStack() as taken:
        with suppress(OSError):  # another program of this machine has it already
            taken.enter_context(socket.create_server(("127.0.0.1", TEMPLATES_PORT)))
        apply(line, "webhook")
        apply(line, "webhook", impulse="others")
        ports = [port_of(line, name) for name in ("pull-requests", "others")]

        assert len({TEMPLATES_PORT, *ports}) == 3
        for number, port in enumerate(ports):
            status, accepted = post(port, json.dumps({**BODY, "pull_request": {"number": number}}).encode())
            assert status == 202, accepted


def port_of(line: CommandLine, impulse: str) -> int:
    """The port of an Impulse that is ready, as the command shows it."""
    wait_until(lambda: impulses(line)[impulse]["status"]["phase"] == "Running")
    shown = json.loads(line.quick("why", f"impulse/{impulse}", "--local", "-ojson").out)["summary"]
    (port,) = re.findall(rf"port {TEMPLATES_PORT} is 127\.0\.0\.1:(\d+)", shown)
    return int(port)


def apply(line: CommandLine, name: str, impulse: str = "", **configuration: Any) -> None:
    """The template and the page's objects, with another configuration and port, and the Secret of the page.

    ``impulse``: another name of the Impulse.
    """
    manifest, objects = template(name), documents(name)
    impulse_in(objects)["spec"]["with"] |= configuration
    impulse_in(objects)["metadata"]["name"] = impulse or impulse_in(objects)["metadata"]["name"]
    if port := configuration.get("port"):
        text = json.dumps(manifest).replace(str(TEMPLATES_PORT), str(port))
        manifest = json.loads(text.replace(str(TEMPLATES_PORT + 1), str(port + 1)))
    metadata = {"name": "github-webhook", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"secret": SECRET}}
    file = line.folder / f"{name}.yaml"
    with file.open("w") as stream:
        YAML(typ="safe", pure=True).dump_all([manifest, secret, *objects], stream)
    done = line.quick("run", file.name, "--local", "--quiet", *INPUTS.get(name, ()))
    assert done.code == 0, done.err


INPUTS = {"webhook": ("--input=repository=a/b", "--input=number=7")}
"""`bobrapet run` applies everything, and then runs the Story once."""


def impulses(line: CommandLine) -> dict[str, Any]:
    found = json.loads(line.quick("impulses", "--local", "-ojson").out)["items"]
    return {each["metadata"]["name"]: {"status": {"phase": "", "storiesLaunched": 0}, **each} for each in found}


def post(port: int, body: bytes, signature: str = "", delivery: str = "event-1") -> tuple[int, Any]:
    headers = {"X-GitHub-Delivery": delivery, "Content-Type": "application/json"}
    return ask(port, "/github", body, {**headers, "X-Hub-Signature-256": signature or signed(body)})


def signed(text: bytes) -> str:
    return f"sha256={hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()}"


def ask(port: int, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    given = headers or {"X-Hub-Signature-256": signed(path.encode())}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=given)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def _free_port() -> int:
    """A port that is free like the next one, which the probes use."""
    while True:
        with socket.socket() as found, socket.socket() as next_one:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
            with suppress(OSError, OverflowError):
                next_one.bind(("127.0.0.1", port + 1))
                return port
