from __future__ import annotations

import json
from pathlib import Path

from cli.configuration import find_configuration
from cli.configured import SettingSource
from cli.session import Session
from core.api.resource import CONFIG_MAP, DEPLOYMENT, NAMESPACE
from deployment.permissions.names import CONFIG_NAME, OPERATOR_NAMESPACE
from tests.integration.commandline import CommandLine


async def test_the_config_map_and_the_flags_of_the_deployment_are_read(session: Session) -> None:
    container = {"name": "manager", "image": "m", "args": ["--config-name=mine", "--hub-endpoint=hub.example:9"]}
    await session.client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
    labels = {"app": "manager"}
    await session.client.create(
        DEPLOYMENT,
        {
            "metadata": {"name": "bobrapet-controller-manager", "namespace": OPERATOR_NAMESPACE},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
        namespace=OPERATOR_NAMESPACE,
    )
    for name, retries in ((CONFIG_NAME, "1"), ("mine", "9")):
        config_map = {"metadata": {"name": name}, "data": {"retry.max-retries": retries}}
        await session.client.create(CONFIG_MAP, config_map, namespace=OPERATOR_NAMESPACE)

    found = await find_configuration(session)

    rows = {row.key: row for row in found.configuration.rows}
    assert found.place == f"ConfigMap {OPERATOR_NAMESPACE}/mine"
    assert rows["retry.max-retries"].value == "9"
    assert rows["controller.transport.hub-endpoint"].source is SettingSource.FLAG


def test_without_a_cluster_the_defaults_are_shown_and_a_note_says_so(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)

    done = line.quick("config", "retry.max-retries", "--output=json")

    assert done.code == 0
    assert "these are the defaults" in done.err
    (item,) = json.loads(done.out)["items"]
    assert (item["value"], item["default"], item["source"], item["changeNeeds"]) == ("3", "3", "default", "live")


def test_a_cluster_that_the_user_names_is_not_replaced_by_defaults(tmp_path: Path) -> None:
    done = CommandLine(tmp_path).quick("config", "--kubeconfig=none.yaml")

    assert (done.code, done.out) == (1, "")


def test_wrong_keys_are_all_named_at_once(tmp_path: Path) -> None:
    done = CommandLine(tmp_path).quick("config", "retry.max-retry", "job.backof-limit")

    assert done.code == 2
    assert "did you mean retry.max-retries?" in done.err
    assert "did you mean job.backoff-limit?" in done.err


def test_no_line_of_the_details_is_wider_than_the_terminal(tmp_path: Path) -> None:
    done = CommandLine(tmp_path, {"COLUMNS": "80"}).quick("config", "storyrun.retention-seconds")

    assert max(map(len, done.out.splitlines())) <= 80
