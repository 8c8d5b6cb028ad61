"""The templates and the pages of the Impulses in this repository: admission accepts them, and so do their programs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from bubu_impulses.cron import config as cron
from bubu_impulses.webhook import config as webhook
from bubu_sdk import decode
from localcluster.node.images import ImageMap
from tests.integration.commandline import REPOSITORY, CommandLine
from tests.integration.impulse_pages import FOLDER, PAGES, documents, impulse_in, template


@pytest.mark.parametrize("name", PAGES)
def test_the_manifests_of_template_and_page_are_admitted(name: str, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / PAGES[name]).read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "all.yaml").write_text((FOLDER / "manifests" / f"{name}.yaml").read_text() + "---\n" + text)

    done = CommandLine(tmp_path).quick("lint", "--fail-on=warning", str(tmp_path / "all.yaml"))

    assert (done.code, done.out) == (0, ""), done.err


def test_the_configuration_of_the_page_about_schedules_is_accepted() -> None:
    decoded: cron.CronConfig = decode.decode(
        impulse_in(documents("cron"))["spec"]["with"], cron.CronConfig, "config", strict=True
    )

    assert [schedule.name for schedule in cron.schedules(decoded, "cron")] == ["nightly", "quarter-hourly"]


def test_the_configuration_of_the_page_about_webhooks_is_accepted() -> None:
    given = impulse_in(documents("webhook"))["spec"]["with"]
    decoded: webhook.WebhookConfig = decode.decode(given, webhook.WebhookConfig, "config", strict=True)

    settings = webhook.checked(decoded, {"secret": "s"})

    assert settings.path == "/github"
    assert settings.has_default_key
    assert webhook.unsigned(decoded) == []


@pytest.mark.parametrize(
    ("schema", "config"),
    [
        (template("cron")["spec"]["configSchema"], cron.CronConfig),
        (template("cron")["spec"]["configSchema"]["properties"]["schedules"]["items"], cron.ScheduleConfig),
        (template("webhook")["spec"]["configSchema"], webhook.WebhookConfig),
        (template("webhook")["spec"]["configSchema"]["properties"]["auth"], webhook.AuthenticationConfig),
    ],
)
def test_template_and_program_know_the_same_fields(schema: Any, config: type) -> None:
    fields = {re.sub("_(.)", lambda part: part[1].upper(), item.name) for item in dataclasses.fields(config)}

    assert set(schema["properties"]) == fields


@pytest.mark.parametrize("name", PAGES)
def test_the_image_map_has_a_program_for_the_image_of_the_template(name: str) -> None:
    program = ImageMap(FOLDER / "images.yaml").find(template(name)["spec"]["image"])

    assert list(program.command)[1:] == ["-m", f"bubu_impulses.{name}"]


def test_the_image_has_a_stage_for_each_template() -> None:
    text = (FOLDER / "Dockerfile").read_text()

    assert re.findall(r"^FROM base AS (\w+)$", text, re.MULTILINE) == sorted(PAGES)
    assert re.findall(r"bubu_impulses\.(\w+)\"", text) == sorted(PAGES)
    installs = [part for part in re.split(r"&&|\n", text) if re.search(r"\b(uv )?pip install|uv build", part)]
    assert [part for part in installs if "--require-hashes" not in part] == []
    pinned = re.compile(r"^ARG PYTHON=(\S+@sha256:[0-9a-f]{64})$", re.MULTILINE)
    assert pinned.findall(text) == pinned.findall((REPOSITORY / "Dockerfile").read_text()) != []
