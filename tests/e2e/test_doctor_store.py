"""What ``bobrapet doctor`` says of an object store: a real S3 server, named by an embedded cluster. Takes 8 s."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
import trio

from cli.console import Console
from cli.doctor import store
from cli.doctor.context import DoctorContext
from cli.options import CommonOptions
from cli.session import Session
from core.api.resource import CONFIG_MAP, SECRET
from core.payloads.store import open_s3_store
from deployment.permissions.names import CONFIG_NAME
from tests.e2e.object_store.gateway import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Gateway
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE, open_embedded
from views.doctor.diagnosis import Diagnosis, Health

MOST_SECONDS: Final = 9.0
"""Within the ten seconds of the whole examination."""
WRONG: Final = "another secret that no text may show"


@asynccontextmanager
async def context(
    folder: Path,
    gateway: Gateway,
    secret: Mapping[str, str] | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
    *,
    reads_secrets: bool = True,
) -> AsyncIterator[DoctorContext]:
    """A cluster whose operator has this store. ``secret``: its credentials; None: there is no Secret.

    ``more``: settings.
    """
    settings = {
        "provider": "s3",
        "s3.bucket": BUCKET,
        "s3.region": REGION,
        "s3.endpoint": gateway.url,
        "s3.use-path-style": "true",
        "s3.auth-secret-name": "store-access",
        **more,
    }
    data = {f"controller.storage.{name}": text for name, text in settings.items()}
    options = CommonOptions(namespace=NAMESPACE_NAME)
    (folder / "cluster").mkdir()
    async with open_embedded(folder / "cluster") as world:
        metadata = {"namespace": OPERATOR_NAMESPACE}
        await world.client.create(CONFIG_MAP, {"metadata": {"name": CONFIG_NAME, **metadata}, "data": data})
        if secret is not None:
            obj = {"metadata": {"name": "store-access", **metadata}, "stringData": dict(secret)}
            await world.client.create(SECRET, obj)
        session = Session(world.client, world.client.config, options, Console(options))
        yield DoctorContext(session, reads_secrets=reads_secrets)


async def found(who: DoctorContext) -> Diagnosis:
    with trio.fail_after(MOST_SECONDS):
        [diagnosis] = await store.examine(who)
    assert SECRET_KEY not in str(diagnosis)
    assert WRONG not in str(diagnosis)
    return diagnosis


async def test_a_store_that_answers_is_well(tmp_path: Path, gateway: Gateway) -> None:
    """Empty, and with an object of a run."""
    async with context(tmp_path, gateway, gateway.credentials) as who:
        assert await found(who) == Diagnosis(Health.OK, "the object store (s3) answers")
        await open_s3_store(gateway.location()).write(f"outputs/{NAMESPACE_NAME}/run-step/output.json", b"{}")
        assert (await found(who)).health is Health.OK
        assert gateway.object_keys() == [f"outputs/{NAMESPACE_NAME}/run-step/output.json"], "nothing was written"


@pytest.mark.parametrize(
    ("secret", "more", "named"),
    [
        ({"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": WRONG}, {}, "does not answer here"),
        ({"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": WRONG}, {}, "does not answer here"),
        ({"AWS_ACCESS_KEY_ID": ACCESS_KEY}, {}, "storage Secret bobrapet-system/store-access needs"),
        (None, {}, "storage Secret bobrapet-system/store-access does not exist"),
        ("right", {"s3.bucket": "another"}, "another"),
        ("right", {"s3.endpoint": "https://127.0.0.1:1"}, "does not answer here"),
        ("right", {"s3.endpoint": "ftp://127.0.0.1"}, "cannot be used"),
    ],
    ids=[
        "wrong secret",
        "unknown account",
        "half of the credentials",
        "no Secret",
        "no such bucket",
        "nobody listens",
        "not a URL",
    ],
)
async def test_what_keeps_the_operator_from_its_store_is_a_problem_with_a_remedy(
    tmp_path: Path, gateway: Gateway, secret: Any, more: dict[str, str], named: str
) -> None:
    given = gateway.credentials if secret == "right" else secret
    async with context(tmp_path, gateway, given, more) as who:
        diagnosis = await found(who)
    assert diagnosis.health is Health.PROBLEM, diagnosis
    assert named in diagnosis.text
    assert "bobrapet config controller.storage." in str(diagnosis)


async def test_a_store_that_was_killed_is_a_problem_and_well_again_later(tmp_path: Path, gateway: Gateway) -> None:
    async with context(tmp_path, gateway, gateway.credentials) as who:
        await gateway.process.kill()
        assert (await found(who)).health is Health.PROBLEM
        gateway.process.start()
        await gateway.until_ready()
        assert (await found(who)).health is Health.OK


async def test_a_store_that_says_nothing_costs_some_seconds(tmp_path: Path, gateway: Gateway) -> None:
    async with context(tmp_path, gateway, gateway.credentials) as who:
        gateway.process.pause()
        diagnosis = await found(who)
        gateway.process.resume()
    assert diagnosis.health is Health.PROBLEM
    assert "did not answer" in diagnosis.text


async def test_without_a_store_and_without_secrets_nothing_is_asked(tmp_path: Path, gateway: Gateway) -> None:
    await gateway.process.kill()
    async with context(tmp_path, gateway, gateway.credentials, reads_secrets=False) as who:
        assert (await found(who)).health is Health.SKIPPED
        await who.client.delete(CONFIG_MAP, CONFIG_NAME, OPERATOR_NAMESPACE)
        assert (await found(who)).health is Health.OK
