"""Documents in files that may run commands of their author; the user is asked before they are applied.

On the embedded cluster a container is a process of the user who typed the command. Of our kinds, only programs run that
are in the user's image map, with three exceptions: a command in a template's probes, command or arguments of an image
without an SDK, and the scripts of a Story. Other documents may run any command: Jobs, Pods, Deployments, and on other
clusters all kinds whose controllers are unknown here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from cli.console import Console
from cli.exit_code import ExitCode
from cli.manifests import Manifest
from cli.problem import CommandError
from core.api.resource import OUR_RESOURCES
from core.story.story import read_story

FLAG: Final = "--allow-workloads"

_OURS: Final = frozenset(resource.group for resource in OUR_RESOURCES)
_PLAIN: Final = frozenset(
    {
        ("", "Namespace"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("", "PersistentVolumeClaim"),
        ("", "LimitRange"),
        ("", "ResourceQuota"),
    }
)
"""Kinds that have data or set limits, and run nothing."""
_MOST_SHOWN: Final = 10


async def confirm_foreign(console: Console, manifests: Iterable[Manifest], *, allowed: bool) -> None:
    """Return if the files contain no commands of their own, or the user agrees.

    Raises:
        CommandError: the user does not agree, or cannot be asked; code REJECTED. Nothing was applied.
    """
    found = list(foreign(manifests))
    if not found or allowed:
        return
    shown = _listed(found)
    if console.can_ask:
        console.note(
            "These documents may run commands with your permissions, or change more than a run of a Story does:\n"
            f"{shown}"
        )
        if await console.confirm("apply them?"):
            return
        raise CommandError("nothing was applied", code=ExitCode.REJECTED)
    if console.says_yes:
        return
    raise CommandError(
        f"these documents may run commands with your permissions, or change more than a run of a Story does:\n{shown}",
        code=ExitCode.REJECTED,
        remedy=f"read them; to apply them, add {FLAG}",
    )


def foreign(manifests: Iterable[Manifest]) -> Iterator[str]:
    """``file:line: what`` for each document that may run commands of its author."""
    for manifest in manifests:
        group, slash, _ = str(manifest.document.get("apiVersion") or "").rpartition("/")
        identity = (group if slash else "", manifest.kind)
        if identity[0] in _OURS:
            for path in commands_in(manifest.document):
                yield f"{manifest.at(path)}: {manifest.kind} {manifest.name!r} runs a command ({path})"
        elif identity not in _PLAIN:
            yield f"{manifest.at('kind')}: {manifest.kind} {manifest.name!r}"


def commands_in(document: Mapping[str, Any]) -> Iterator[str]:
    """Paths at which a document has a command of its own: scripts of a Story, as it is stored; of a template, in
    probes, and for an image without an SDK.

    Arguments alone are a command, too, where the image map names no program for the image.
    """
    if document.get("kind") == "Story":
        yield from (f"{step.place}.run" for step in read_story(document).every_step() if step.declared.get("run"))
        return
    container = _block(_block(document, "spec"), "container")
    yield from (f"spec.container.{key}" for key in ("command", "args") if container.get(key))
    probes = _block(_block(_block(document, "spec"), "execution"), "probes")
    for name, probe in probes.items():
        if _block(probe, "exec"):
            yield f"spec.execution.probes.{name}.exec"


def _block(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _listed(found: Sequence[str]) -> str:
    lines = [f"  {each}" for each in found[:_MOST_SHOWN]]
    if len(found) > _MOST_SHOWN:
        lines.append(f"  and {len(found) - _MOST_SHOWN} more")
    return "\n".join(lines)
