"""Completion of runs, Stories, steps and inputs from the cluster. Fails without output, and takes at most a second.

A shell waits for this at every press of Tab, so it uses a small HTTP client of the standard library: loading the real
client would take longer than the request. Credential plugins are not run, because they may ask questions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer

if TYPE_CHECKING:  # every command declares its completions, but few are used
    import http.client
    import ssl

    from views.step_layout import RunStep

Found = TypeVar("Found")

DEADLINE_SECONDS: Final = 1.0
MAX_NAMES: Final = 200
_LATEST: Final = "@latest"
_EXPLAINED: Final = {
    "trigger": ("runs.bubustack.io", "storytriggers"),
    "impulse": ("bubustack.io", "impulses"),
}
"""Word before the slash → group and plural of what `why` explains besides runs."""
_NAMES_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of runs, newest first, ``@latest`` and ``@latest:STORY``."""

    def ask(server: Server) -> list[str]:
        if incomplete.startswith(f"{_LATEST}:"):
            return [f"{_LATEST}:{name}" for name in server.names("bubustack.io", "stories")]
        return [_LATEST, *server.names("runs.bubustack.io", "storyruns")]

    return [name for name in _ask(ctx, ask) if name.startswith(incomplete)]


def complete_story(ctx: typer.Context, incomplete: str) -> list[str]:
    return [
        name
        for name in _ask(ctx, lambda server: server.names("bubustack.io", "stories"))
        if name.startswith(incomplete)
    ]


def complete_story_or_run(ctx: typer.Context, incomplete: str) -> list[str]:
    return [*complete_story(ctx, incomplete), *complete_run(ctx, incomplete)]


def complete_step(ctx: typer.Context, incomplete: str) -> list[str]:
    """Steps of the run that comes before it on the command line, branches included."""
    run = str(ctx.params.get("run") or "")
    # The parser stops at an option whose value is being typed: the words before it are not arguments yet.
    run = run or next(iter(ctx.args), "")
    given = ctx.params.get("steps") or ()
    return [
        name
        for name in _ask(ctx, lambda server: server.places(run, lambda placed: True))
        if name.startswith(incomplete) and name not in given
    ]


def complete_run_and_step(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs; after a slash the steps of the run, branches included."""
    return _with_part_of_run(ctx, incomplete, lambda placed: True)


def complete_explained(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs and their steps; after ``trigger/`` StoryTriggers, after ``impulse/`` Impulses."""
    word, slash, part = incomplete.partition("/")
    place = _EXPLAINED.get(word) if slash else None
    if place is None:
        return complete_run_and_step(ctx, incomplete)
    return [f"{word}/{name}" for name in _ask(ctx, lambda server: server.names(*place)) if name.startswith(part)]


def complete_run_and_gate(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs; after a slash the gates of the run."""
    return _with_part_of_run(ctx, incomplete, _is_gate)


def complete_gate(ctx: typer.Context, incomplete: str) -> list[str]:
    """Gates of the run that comes before it on the command line."""
    run = str(ctx.params.get("run") or "")
    return [name for name in _ask(ctx, lambda server: server.places(run, _is_gate)) if name.startswith(incomplete)]


def complete_step_of_story(ctx: typer.Context, incomplete: str) -> list[str]:
    """Steps of the Story on the command line: in the cluster, or in the file of ``-f``."""
    from core.story.story import read_story

    steps = [step.name for story in _stories_on_the_line(ctx) for step in read_story(story).top()]
    given = ctx.params.get("steps") or ()
    return [name for name in steps if name.startswith(incomplete) and name not in given]


def complete_field(ctx: typer.Context, incomplete: str) -> list[str]:
    """Paths of the expressions of the Story on the command line, see ``complete_step_of_story``."""

    def paths() -> list[str]:
        from cli.rendering import field_paths

        return [path for story in _stories_on_the_line(ctx) for path in field_paths(story)]

    return [path for path in _in_silence(paths) if path.startswith(incomplete)]


def complete_input(ctx: typer.Context, incomplete: str) -> list[str]:
    """``key=`` for the inputs that the Story on the line declares: in the cluster, or in the files of ``run``."""
    # The parser stops at an option whose value is being typed: the words before it are not arguments yet.
    words, chosen = ctx.args, str(ctx.params.get("story") or "")
    if ctx.info_name == "run":
        files = ctx.params.get("files") or words
        keys = _in_silence(lambda: [key for story in _stories_in_files(files, chosen) for key in input_keys(story)])
    elif ctx.info_name == "render":
        keys = [key for story in _stories_on_the_line(ctx) for key in input_keys(story)]
    elif ctx.info_name == "resubmit":
        run = str(ctx.params.get("run") or next(iter(words), ""))
        keys = _ask(ctx, lambda server: input_keys(server.story_of(run)))
    else:
        chosen = chosen or next(iter(words), "")
        keys = _ask(ctx, lambda server: input_keys(server.story(chosen)) if chosen else [])
    given = {pair.partition("=")[0].removesuffix(":") for pair in ctx.params.get("inputs") or ()}
    return [f"{key}=" for key in keys if f"{key}=".startswith(incomplete) and key not in given]


def complete_decision(incomplete: str) -> list[str]:
    from core.workloads.keyed_request import Decision

    return [decision.value for decision in Decision if decision.value.lower().startswith(incomplete.lower())]


def complete_phase(incomplete: str) -> list[str]:
    from core.api.phases import Phase

    return [phase.value for phase in Phase if phase.value.lower().startswith(incomplete.lower())]


def complete_setting(incomplete: str) -> list[str]:
    """Keys of the operator's ConfigMap."""
    from core.policy.config_keys import KEYS

    return [key for key in KEYS if key.startswith(incomplete)]


def input_keys(story: Mapping[str, Any]) -> list[str]:
    """The names of the inputs, required ones first."""
    schema = (story.get("spec") or {}).get("inputsSchema") or {}
    required = [str(key) for key in schema.get("required") or ()]
    return list(dict.fromkeys([*required, *(schema.get("properties") or {})]))


class Server:
    """One connection to the API server of the current context, with one deadline for all requests."""

    def __init__(self, connection: http.client.HTTPConnection, prefix: str, token: str, namespace: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._token = token
        self._namespace = namespace
        self._deadline = time.monotonic() + DEADLINE_SECONDS

    def names(self, group: str, plural: str) -> list[str]:
        """Names of all objects of a kind in the namespace, newest first."""
        listed = self._get(group, f"{plural}?limit={MAX_NAMES}", _NAMES_ONLY)
        items = [item["metadata"] for item in listed.get("items") or ()]
        items.sort(key=lambda metadata: str(metadata.get("creationTimestamp")), reverse=True)
        return [metadata["name"] for metadata in items]

    def places(self, run: str, takes: Callable[[RunStep], bool]) -> list[str]:
        """Names of the steps of ``run`` that ``takes`` accepts, with branches and with items that have begun."""
        from core.story.step import ANY_ITEM
        from views.step_layout import declared_steps

        story = self.story_of(run)
        recorded = (self._run(run).get("status") or {}).get("stepStates") or {}
        steps = declared_steps(story, recorded) if story else []
        return [placed.name for placed in steps if takes(placed) and ANY_ITEM not in placed.name]

    def story_of(self, run: str) -> dict[str, Any]:
        """The Story of ``run``; empty if there is none."""
        story = run.partition(":")[2] if run.startswith(_LATEST) else ""
        story = story or ((self._run(run).get("spec") or {}).get("storyRef") or {}).get("name") or ""
        return self.story(story) if story else {}

    def story(self, name: str) -> dict[str, Any]:
        return self._get("bubustack.io", f"stories/{name}")

    def _run(self, run: str) -> dict[str, Any]:
        """The stored run; empty for ``@latest:STORY``, which only names the Story."""
        if run == _LATEST:
            run = next(iter(self.names("runs.bubustack.io", "storyruns")), "")
        return self._get("runs.bubustack.io", f"storyruns/{run}") if run and not run.startswith(_LATEST) else {}

    def _get(self, group: str, rest: str, accept: str = "application/json") -> dict[str, Any]:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        if self._connection.sock is None:
            self._connection.timeout = remaining
        else:
            self._connection.sock.settimeout(remaining)
        headers = {"Accept": accept, **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        path = f"{self._prefix}/apis/{group}/v1alpha1/namespaces/{self._namespace}/{rest}"
        self._connection.request("GET", path, headers=headers)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer


def _ask(ctx: typer.Context, question: Callable[[Server], list[Found]]) -> list[Found]:
    return _in_silence(lambda: question(_server(ctx.params)))


def _in_silence(question: Callable[[], list[Found]]) -> list[Found]:
    try:
        return question()
    except Exception:  # noqa: BLE001 - errors must not be printed into a shell prompt
        return []


def _with_part_of_run(ctx: typer.Context, incomplete: str, takes: Callable[[RunStep], bool]) -> list[str]:
    run, slash, part = incomplete.partition("/")
    if not slash:
        return complete_run(ctx, incomplete)
    return [f"{run}/{name}" for name in _ask(ctx, lambda server: server.places(run, takes)) if name.startswith(part)]


def _is_gate(placed: RunStep) -> bool:
    return placed.kind == "gate"


def _stories_on_the_line(ctx: typer.Context) -> list[dict[str, Any]]:
    """The Story for ``render``: from its file, or from the cluster."""
    chosen, file = str(ctx.params.get("story") or next(iter(ctx.args), "")), ctx.params.get("file")
    if file:
        return _in_silence(lambda: _stories_in_files([str(file)], chosen))
    return _ask(ctx, lambda server: [server.story(chosen)] if chosen else [])


def _stories_in_files(files: Sequence[str], chosen: str) -> list[dict[str, Any]]:
    from cli.manifests import load_manifests

    stories = [manifest for manifest in load_manifests(files) if manifest.kind == "Story"]
    return [story.document for story in stories if chosen in ("", story.name)]


def _server(params: Mapping[str, Any]) -> Server:
    """Connect according to the flags on the command line."""
    import http.client
    import os
    from urllib.parse import urlsplit

    from cli.target import embedded_cluster
    from core.kube import kubeconfig as files

    given = {name: params.get(name) for name in ("kubeconfig", "context", "local", "data")}
    if isinstance(given["data"], list | tuple):  # ``--data`` of ``approve`` has values for later steps
        given["data"] = None
    cluster = embedded_cluster(SimpleNamespace(**given))
    chosen = cluster.kubeconfig if cluster else given["kubeconfig"]
    paths = [Path(chosen).expanduser()] if chosen else files.default_paths(os.environ)
    selection = files.select_context(files.read_kubeconfig(paths), given["context"] or None)
    url = urlsplit(str(selection.cluster.value.get("server")))
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.hostname or "", url.port or 443, context=_tls(selection))
    else:
        connection = http.client.HTTPConnection(url.hostname or "", url.port or 80)
    return Server(connection, url.path, _token(selection), str(params.get("namespace") or selection.namespace))


def _token(selection: Any) -> str:
    from core.kube.kubeconfig import resolve

    if file := selection.user.value.get("tokenFile"):
        return resolve(selection.user, str(file)).read_text(encoding="utf-8").strip()
    return str(selection.user.value.get("token") or "")


def _tls(selection: Any) -> ssl.SSLContext:
    import ssl

    from core.kube.kubeconfig import data_or_file

    authority = data_or_file(selection.cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if selection.cluster.value.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = (data_or_file(selection.user, name) for name in ("client-certificate", "client-key"))
    if certificate and key:
        _load_pair(context, certificate, key)
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The ssl module reads pairs from files only; this file is private and deleted at once."""
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".pem") as pem:
        pem.write(certificate + b"\n" + key)
        pem.flush()
        context.load_cert_chain(pem.name)
