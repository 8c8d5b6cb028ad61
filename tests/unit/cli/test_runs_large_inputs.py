"""Inputs that are too large for a StoryRun are stored before it is created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from cli.embedded.operator_process import OPERATOR_NAMESPACE
from cli.problem import CommandError
from cli.runs import run_manifest, start_run, with_stored_inputs
from cli.session import Session
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, NAMESPACE, SECRET, STORY_RUN
from core.payloads.errors import StoreUnavailableError
from core.payloads.store import S3Location
from deployment.permissions.table import CONFIG_NAME
from reconcilers.adapters import payload_store

S3 = {
    "controller.storage.provider": "s3",
    "controller.storage.s3.bucket": "data",
    "controller.storage.s3.auth-secret-name": "store-access",
}
KEYS = {"AWS_ACCESS_KEY_ID": "aWQ=", "AWS_SECRET_ACCESS_KEY": "c2VjcmV0"}
LARGE = {"text": "x" * 3000, "n": 1}


class WritableBucket:
    """What was written, by key; ``problem`` is the answer instead, if it is set."""

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}
        self.problem = ""

    def open(self, location: S3Location, *, timeout_seconds: float) -> WritableBucket:
        assert (location.bucket, timeout_seconds > 0) == ("data", True)
        return self

    async def write(self, key: str, content: bytes) -> None:
        if self.problem:
            raise StoreUnavailableError(self.problem)
        self.written[key] = content


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> WritableBucket:
    bucket = WritableBucket()
    monkeypatch.setattr(payload_store, "open_s3_store", bucket.open)
    return bucket


async def configure(session: Session, data: Mapping[str, str]) -> None:
    await session.client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
    config = {"metadata": {"name": CONFIG_NAME}, "data": dict(data)}
    await session.client.create(CONFIG_MAP, config, namespace=OPERATOR_NAMESPACE)
    secret = {"metadata": {"name": "store-access"}, "data": KEYS}
    await session.client.create(SECRET, secret, namespace=OPERATOR_NAMESPACE)


async def start(session: Session, inputs: Any, *, name: str = "", dry_run: bool = False) -> Object:
    return await start_run(session, run_manifest("story", "default", inputs, name=name), dry_run=dry_run)


@pytest.mark.parametrize("name", ["", "mine"])
async def test_large_parts_are_stored_under_the_name_of_the_run(
    session: Session, bucket: WritableBucket, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await configure(session, S3)

    run = await start(session, LARGE, name=name)

    [(key, content)] = bucket.written.items()
    assert key.startswith(f"inputs/default/{run['metadata']['name']}/text.sha256-")
    assert orjson.loads(content)["data"] == LARGE["text"]
    assert (run["spec"]["inputs"]["text"]["$bubuStorageRef"], run["spec"]["inputs"]["n"]) == (key, 1)
    assert run["metadata"]["name"] == name or run["metadata"]["name"].startswith("story-")
    assert "bytes of inputs were stored" in capsys.readouterr().err


async def test_small_inputs_stay_and_nobody_is_asked(session: Session, bucket: WritableBucket) -> None:
    run = await start(session, {"n": 1})

    assert run["spec"]["inputs"] == {"n": 1}
    assert bucket.written == {}


@pytest.mark.parametrize(
    "data", [{}, {**S3, "storyrun.max-inline-inputs-size": "4096"}], ids=["no store", "a higher limit"]
)
async def test_inputs_stay_if_they_may_or_must(session: Session, bucket: WritableBucket, data: dict[str, str]) -> None:
    await configure(session, data)

    assert (await start(session, LARGE))["spec"]["inputs"] == LARGE
    assert bucket.written == {}


async def test_who_may_not_read_the_settings_leaves_it_to_admission(
    session: Session, server: Any, bucket: WritableBucket
) -> None:
    await configure(session, S3)
    manifest = run_manifest("story", "default", LARGE)
    async with server.session_as("jane") as jane:
        assert await with_stored_inputs(jane, manifest) == manifest
    assert bucket.written == {}


async def test_a_dry_run_stores_nothing(session: Session, bucket: WritableBucket) -> None:
    await configure(session, S3)

    run = await start(session, LARGE, dry_run=True)

    assert "$bubuStorageRef" in run["spec"]["inputs"]["text"]
    assert bucket.written == {}


async def test_without_an_answer_of_the_store_no_run_is_started(session: Session, bucket: WritableBucket) -> None:
    await configure(session, S3)
    bucket.problem = "bucket data cannot be written: it answered 503"

    with pytest.raises(CommandError, match="the inputs could not be stored: bucket data cannot be written") as caught:
        await start(session, LARGE)

    assert "smaller inputs" in caught.value.remedy
    assert (await session.client.list(STORY_RUN, "default")).items == []
