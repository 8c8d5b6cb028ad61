"""Script steps: a program written into the Story, run by an image that the platform allows. Pure.

A script step is a container without an SDK whose template is in the step itself. Its text is never a template: values
reach it by the file of its inputs. Source: StepRun contract 26.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from core.api.objects import Object, ReadOnlyObject
from core.policy.config_values import ANY_IMAGE
from core.policy.settings import ScriptSettings

SCRIPT_FIELDS: Final = ("run", "image", "shell")
INPUTS_FILE: Final = "/var/run/bubu/inputs.json"
IMAGES_KEY: Final = "scripts.images"
DEFAULT_IMAGE_KEY: Final = "scripts.default-image"

_SHELL: Final = ("sh", "-ec")
_PYTHON: Final = ("python3", "-c")
_PARTS: Final = re.compile(r"\*\*|\*|\?|[^*?]+")
_MEANINGS: Final = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def is_script(step: ReadOnlyObject) -> bool:
    """Whether the step is a script step."""
    return bool(step.get("run"))


def image_of(step: ReadOnlyObject, settings: ScriptSettings) -> str:
    """The image of the step, else that of the operator's settings; empty if there is none."""
    return str(step.get("image") or settings.default_image)


def why_image_not_allowed(step: ReadOnlyObject, settings: ScriptSettings) -> tuple[str, str] | None:
    """What is wrong with the image, and the remedy; None: the platform allows it."""
    image = image_of(step, settings)
    if not settings.images:
        return "script steps are not allowed here", f"list their images in {IMAGES_KEY} of the operator's ConfigMap"
    if not image:
        return "a script step needs an image", f"name one, or set {DEFAULT_IMAGE_KEY} in the operator's ConfigMap"
    if is_allowed(image, settings.images):
        return None
    allowed = ", ".join(settings.images)
    return (
        f"{image} is not an image for script steps",
        f"use one of {allowed} ({IMAGES_KEY} in the operator's ConfigMap)",
    )


def is_allowed(image: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is the whole image, as it is written.

    ``*`` and ``?`` do not match a slash, so ``python:*`` is no image of a registry ``python:5000``; ``**`` does, and
    ``*`` alone matches every image.
    """
    return any(pattern == ANY_IMAGE or _compiled(pattern).fullmatch(image) is not None for pattern in patterns)


def shell_of(step: ReadOnlyObject, image: str) -> tuple[str, ...]:
    """The words before the text of the script: ``shell``; else Python for images named ``python``, else ``sh -ec``."""
    given = step.get("shell")
    if given:
        return tuple(given)
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return _PYTHON if name == "python" else _SHELL


def template_of(step: ReadOnlyObject, image: str) -> Object:
    """The EngramTemplate that the step stands for."""
    container: dict[str, Any] = {
        "command": [*shell_of(step, image), str(step["run"])],
        "inputsFile": INPUTS_FILE,
        "result": {"from": "stdout"},
    }
    spec = {"image": image, "version": "", "supportedModes": ["job"], "container": container}
    return {"kind": "EngramTemplate", "metadata": {"name": ""}, "spec": spec}


def engram_of(namespace: str) -> Object:
    """The Engram that a script step of a Story in ``namespace`` stands for."""
    return {"kind": "Engram", "metadata": {"name": "", "namespace": namespace}, "spec": {}}


def script_of(step: ReadOnlyObject) -> Mapping[str, Any]:
    """``StepRun.spec.script``: the script as the step declares it."""
    return {key: step[key] for key in SCRIPT_FIELDS if step.get(key)}


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(_MEANINGS.get(part) or re.escape(part) for part in _PARTS.findall(pattern)))
