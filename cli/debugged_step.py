"""What a step needs to run on this machine: its program, and the environment that its container had.

The environment is that of the Job, put together as the node of an embedded cluster does it. Storage is replaced by a
folder of this machine, with copies of what the inputs refer to.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from cli.embedded.images import MAP_FILE
from cli.object_store import find_stores
from cli.problem import CommandError
from cli.session import Session
from cli.step_details import FoundStep
from cli.target import embedded_at
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, EFFECT_CLAIM, SECRET
from core.engine.ports import JOB
from core.engine.step.record import executor_of
from core.kube.errors import ForbiddenError, NotFoundError
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.referred import keys_referred_to, reachable_from
from core.payloads.store import Store
from core.workloads.script import template_of
from core.workloads.step_workload import ENGRAM_CONTAINER
from localcluster.node.environment import container_variables, machine_variables
from localcluster.node.images import ImageMap, ImageMapError, UnknownImageError, default_path, inherited
from localcluster.node.podfields import HostFacts, PodFieldError
from localcluster.node.sources import MissingSourceError, SourceName, Sources, names_in_containers, names_in_volumes
from views.effects import step_run_name

_OBJECT_BYTES: Final = 64 << 20
_STORAGE: Final = "BUBU_STORAGE_"
_INPUTS: Final = ("BUBU_TRIGGER_DATA", "BUBU_STEP_CONFIG", "BUBU_TEMPLATE_CONTEXT")
_LONG: Final = "24h0m0s"
_LARGEST_INLINE: Final = 1 << 20
_SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io"


@dataclass(frozen=True, slots=True)
class Program:
    """``words``: what to execute; ``workdir``: where."""

    words: tuple[str, ...]
    workdir: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DebugWish:
    """How to run it."""

    command: str = ""
    """Instead of the program that the image map names."""
    image_map: Path | None = None
    pdb: bool = False
    debugger: str = ""
    """Words: after the interpreter, if they begin with a dash, otherwise before the program."""

    @property
    def stops(self) -> bool:
        """Whether a person steps through it, which takes longer than the step may."""
        return self.pdb or bool(self.debugger)


def container_of(found: FoundStep) -> Object:
    """The container of the step's Job; if the Job is gone, one with what the StepRun knows.

    Raises:
        CommandError: the step has nothing that could run here.
    """
    if found.step_run is None:
        raise CommandError(
            f"step {found.name!r} has no StepRun: it has not begun, or the operator executes it itself",
            remedy="name a step with an Engram that has begun",
        )
    spec = found.step_run["spec"]
    if executor_of(found.step_run) != JOB:
        raise CommandError(
            f"step {found.name!r} serves a stream, and its packets come from the other steps of the run",
            remedy=f"see them pass with: bobrapet stream tap {found.detail.run}/{found.name}; to debug its function, "
            "give it such packets in a test, with StreamHarness of bubu_sdk.testing",
        )
    if found.job is None:
        script = _of_script(spec["script"]) if spec.get("script") else {"image": ""}
        return {"name": ENGRAM_CONTAINER, **script, "env": _known(found)}
    containers = found.job["spec"]["template"]["spec"]["containers"]
    own: Object = next(each for each in containers if each["name"] == ENGRAM_CONTAINER)
    return own


def _of_script(script: Object) -> Object:
    """``command`` and ``image`` of the container for a script; the image is empty if the script does not name one."""
    image = str(script.get("image") or "")
    command = template_of(script, image)["spec"]["container"]["command"]
    return {"image": image, "command": [word.replace("$", "$$") for word in command]}


def _known(found: FoundStep) -> list[Object]:
    assert found.step_run is not None, "checked before"
    spec, metadata = found.step_run["spec"], found.step_run["metadata"]
    inputs = json.dumps(spec.get("input") or {})
    known = {
        "BUBU_STORY_NAME": (found.run["spec"].get("storyRef") or {}).get("name", ""),
        "BUBU_STORYRUN_ID": found.run["metadata"]["name"],
        "BUBU_STEP_NAME": spec["stepId"],
        "BUBU_STEPRUN_NAME": metadata["name"],
        "BUBU_STEPRUN_NAMESPACE": metadata["namespace"],
        "BUBU_POD_NAMESPACE": metadata["namespace"],
        "BUBU_ENGRAM_NAME": (spec.get("engramRef") or {}).get("name", ""),
        "BUBU_TRIGGER_DATA": inputs,
        "BUBU_STEP_CONFIG": inputs,
        "BUBU_EXECUTION_MODE": "batch",
        "BUBU_MAX_RECURSION_DEPTH": "32",
        "BUBU_SKIP_INPUT_TEMPLATING": "true",
        "BUBU_SKIP_SCHEMA_VALIDATION": "true",
    }
    return [{"name": name, "value": str(value).replace("$", "$$")} for name, value in known.items()]


def program_of(session: Session, container: Object, wish: DebugWish, variables: Mapping[str, str]) -> Program:
    """The program of the container on this machine.

    Raises:
        CommandError: the image map does not name one, and no command is given.
    """
    if wish.command:
        return Program(tuple(shlex.split(wish.command)), str(Path.cwd()))
    image = str(container.get("image") or "")
    remedy = "name the program: --command 'python step.py', or an entry of --image-map"
    if not image:
        raise CommandError("the Job of the step is gone, so its image is not known", remedy=remedy)
    cluster = session.embedded or embedded_at(session.config.server, Path(session.config.source))
    known = cluster.data / MAP_FILE if cluster is not None else default_path(os.environ)
    try:
        mapped = ImageMap(wish.image_map or known).find(image)
    except (UnknownImageError, ImageMapError) as error:
        raise CommandError(str(error), remedy=remedy) from error
    words = mapped.argv(container, variables)
    if not words:
        raise CommandError(f'image "{image}": neither the image map nor the Job names a program', remedy=remedy)
    return Program(words, mapped.workdir, {**inherited(mapped), **mapped.env})


def words_of(program: Program, wish: DebugWish) -> list[str]:
    """What to execute, with the debugger."""
    words = list(program.words)
    more = shlex.split(wish.debugger)
    if not more:
        return words
    return [words[0], *more, *words[1:]] if more[0].startswith("-") else [*more, *words]


async def variables_of(session: Session, found: FoundStep, container: Object, folder: Path) -> dict[str, str]:
    """The variables that the container had; files of Secrets and ConfigMaps are below ``folder``.

    Secrets that the user may not read are left out, with a note.

    Raises:
        CommandError: a variable cannot be set.
    """
    namespace = found.run["metadata"]["namespace"]
    template = found.job["spec"]["template"] if found.job is not None else {"spec": {"containers": [container]}}
    name = found.step_run["metadata"]["name"] if found.step_run is not None else ""
    pod: Object = {
        "metadata": {**(template.get("metadata") or {}), "name": f"{name}-debug", "namespace": namespace},
        "spec": template["spec"],
    }
    volumes = [each for each in template["spec"].get("volumes") or () if "projected" not in each]
    names = {*names_in_containers([container]), *names_in_volumes(volumes)}
    contents = {each: await _content(session, namespace, each) for each in sorted(names)}
    sources = Sources({each: content for each, content in contents.items() if content is not None})
    container = _without({each for each, content in contents.items() if content is None}, container)
    _write_files(folder, container, volumes, sources)
    host = HostFacts("localhost", "127.0.0.1", {})
    base = machine_variables(os.environ, str(Path(sys.executable).parent))
    try:
        variables = container_variables(pod, container, sources, host, base)
    except (MissingSourceError, PodFieldError) as error:
        raise CommandError(f"a variable of the step cannot be set: {error}") from error
    return {**variables, "BUBU_VOLUME_ROOT": str(folder)}


def _without(lost: set[SourceName], container: Object) -> Object:
    """The container without the variables that come from Secrets and ConfigMaps that cannot be read."""

    def is_known(entry: Object, field: str) -> bool:
        return not lost.intersection(names_in_containers([{field: [entry]}]))

    return {
        **container,
        **{
            field: [entry for entry in container.get(field) or () if is_known(entry, field)]
            for field in ("env", "envFrom")
        },
    }


async def _content(session: Session, namespace: str, source: SourceName) -> dict[str, bytes] | None:
    resource = SECRET if source.plural == SECRET.plural else CONFIG_MAP
    try:
        found = await session.client.get(resource, source.name, namespace)
    except (ForbiddenError, NotFoundError) as error:
        session.console.note(f"{resource.kind} {source.name} is missing here, so the step does not get it: {error}")
        return None
    data = found.get("data") or {}
    if resource is CONFIG_MAP:
        return {key: str(value).encode() for key, value in data.items()}
    return {key: base64.b64decode(value) for key, value in data.items()}


def _write_files(folder: Path, container: Object, volumes: Sequence[Object], sources: Sources) -> None:
    by_name = {volume["name"]: volume for volume in volumes}
    for mount in container.get("volumeMounts") or ():
        volume = by_name.get(mount["name"]) or {}
        if mount["mountPath"].startswith(_SERVICE_ACCOUNT):
            continue
        target = folder / Path(mount["mountPath"]).relative_to("/")
        target.mkdir(parents=True, exist_ok=True)
        for source in names_in_volumes([volume]):
            for key, value in sources.entries(source, optional=True).items():
                (target / key).write_bytes(value)


async def with_local_storage(
    session: Session, variables: dict[str, str], namespace: str, folder: Path
) -> dict[str, str]:
    """The variables with a folder as object store, in which everything is that the inputs refer to.

    Raises:
        CommandError: an object cannot be read.
    """
    plain = {name: value for name, value in variables.items() if not name.startswith(_STORAGE)}
    prefix = variables.get("BUBU_STORAGE_OUTPUT_PREFIX")
    referred = keys_referred_to([variables.get(name, "") for name in _INPUTS])
    if referred:
        store = (await find_stores(session)).of(namespace)
        await _copy(store, referred, namespace, folder)
    await trio.Path(folder).mkdir(parents=True, exist_ok=True)
    return {
        **plain,
        "BUBU_STORAGE_PROVIDER": "file",
        "BUBU_STORAGE_PATH": str(folder),
        **({"BUBU_STORAGE_OUTPUT_PREFIX": prefix} if prefix else {}),
        "BUBU_MAX_INLINE_SIZE": str(_LARGEST_INLINE),
    }


async def _copy(store: Store, referred: frozenset[str], namespace: str, folder: Path) -> None:
    try:
        keys = await reachable_from(referred, store, namespace=namespace, object_bytes=_OBJECT_BYTES)
        for key in sorted(keys):
            target = folder / key
            await trio.Path(target.parent).mkdir(parents=True, exist_ok=True)
            await store.download(key, target, _OBJECT_BYTES * 16)
    except (PayloadError, StoreUnavailableError) as error:
        raise CommandError(f"the inputs of the step cannot be read: {error}") from error


def for_debugger(variables: dict[str, str], wish: DebugWish) -> dict[str, str]:
    """The variables with what a debugger needs: time, and the function's own debugger."""
    if not wish.stops:
        return variables
    return {**variables, "BUBU_STEP_TIMEOUT": _LONG, **({"BUBU_DEBUGGER": "pdb"} if wish.pdb else {})}


async def completed_claims(session: Session, found: FoundStep) -> list[Object]:
    """The EffectClaims of effects of this step that have happened; none if the user may not read them."""
    if found.step_run is None:
        return []
    metadata = found.step_run["metadata"]
    try:
        claims = (await session.client.list(EFFECT_CLAIM, metadata["namespace"])).items
    except ForbiddenError:
        session.console.note("you may not read EffectClaims: effects of this step that have happened are repeated")
        return []
    own = [claim for claim in claims if step_run_name(claim) == metadata["name"]]
    return [claim for claim in own if (claim.get("spec") or {}).get("completionStatus") == "completed"]
