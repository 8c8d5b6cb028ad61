"""The manifests of the Impulses in this repository, and those of the pages that describe them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from ruamel.yaml import YAML

from tests.integration.commandline import REPOSITORY

FOLDER: Final = REPOSITORY / "impulses"
PAGES: Final = {"cron": "start-from-a-schedule.md", "webhook": "start-from-a-webhook.md"}


def template(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(FOLDER / "manifests" / f"{name}.yaml")


def documents(name: str) -> list[Any]:
    """The manifests of a page."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / PAGES[name]).read_text(), re.DOTALL)
    return list(YAML(typ="safe", pure=True).load_all(text))


def impulse_in(objects: Sequence[Any]) -> Any:
    (found,) = [each for each in objects if each["kind"] == "Impulse"]
    return found
