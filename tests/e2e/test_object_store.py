"""The object store of operator and SDK on a real S3 server, over TLS, with faults between."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import trio

from bubu_sdk import s3
from bubu_sdk.errors import StorageError
from bubu_sdk.storage import Store as SdkStore
from cli.console import Console
from cli.options import CommonOptions
from cli.session import Session
from cli.verbs.cache import clear_cache
from cli.verbs.storage import show_usage
from cli.verbs.storage import sweep_store as sweep
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, SECRET, STEP_RUN, STORY_RUN
from core.engine.clock import system_now
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, plan
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.hydrate import hydrate
from core.payloads.store import Store, open_s3_store
from core.policy.settings import OperatorSettings, StorageProvider, StorageSettings
from core.workloads.cache_entry import CacheSelection
from deployment.permissions.names import CONFIG_NAME
from tests.e2e.object_store.exchange import exchange
from tests.e2e.object_store.faulty import FaultyProxy, StoreFault, open_faulty
from tests.e2e.object_store.gateway import BUCKET, REGION, SECRET_KEY, Gateway
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OPERATOR_NAMESPACE,
    OperatorCluster,
    open_on_real,
    status_of,
    step,
)
from tools.control_plane.session import SessionCluster

KEY: Final = "outputs/team/run-step/items.0.a%2Eb é.json"
LIMIT: Final = 4 * 1024 * 1024
MIB: Final = 1024 * 1024
DATA_BYTES: Final = 2 * MIB
LARGE_FILE_BYTES: Final = 256 * MIB
MOST_GROWTH_BYTES: Final = 64 * MIB
PROGRAM: Final = Path(__file__).parent / "engrams" / "large_data.py"
JOINED: Final = (
    "{{ printf \"%.2000s,%.2000s,%.2000s,%.2000s\" steps['make-0'].output.text steps['make-1'].output.text "
    "steps['make-2'].output.text steps['make-3'].output.text }}"
)
"""Read by the operator: 8,003 characters, which it stores for the step that gets them."""


@pytest.fixture
async def proxy(gateway: Gateway) -> AsyncIterator[FaultyProxy]:
    async with open_faulty(gateway) as opened:
        yield opened


@pytest.fixture
def through_faults(gateway: Gateway, proxy: FaultyProxy) -> Store:
    return open_s3_store(gateway.location(proxy.url), timeout_seconds=10)


def sdk_store(gateway: Gateway, **more: str) -> SdkStore:
    own = {"BUBU_STORAGE_S3_BUCKET": BUCKET, "BUBU_STORAGE_S3_ENDPOINT": gateway.url}
    return s3.open_s3_store({**own, **gateway.credentials, **more})


async def test_the_operator_reads_what_it_has_written(gateway: Gateway) -> None:
    store, content = open_s3_store(gateway.location()), random.Random(1).randbytes(3 * MIB)

    await store.write(KEY, content)

    assert await store.read(KEY, LIMIT) == content
    assert gateway.object_keys() == [KEY]
    assert (gateway.folder / KEY).read_bytes() == content
    with pytest.raises(PayloadError, match="larger than 1,000 bytes"):
        await store.read(KEY, 1000)
    with pytest.raises(PayloadError, match="does not exist"):
        await store.read("outputs/team/none.json", LIMIT)


async def test_operator_and_sdk_read_what_the_other_has_written(gateway: Gateway) -> None:
    await exchange(open_s3_store(gateway.location()), sdk_store(gateway))


async def test_objects_are_listed_and_deleted(gateway: Gateway, proxy: FaultyProxy, through_faults: Store) -> None:
    wanted = [f"outputs/team/run/{number}.json" for number in range(7)]
    other = "outputs/team-b/run/0.json"
    for key in (*wanted, KEY, other):
        await through_faults.write(key, b"content")

    first = await through_faults.page("outputs/team", limit=5)
    proxy.faults = {"GET": [StoreFault.SLOW_DOWN, StoreFault.LOST], "DELETE": [StoreFault.ERROR, StoreFault.SLOW_DOWN]}
    second = await through_faults.page("outputs/team", after=first[-1].key, limit=5)
    assert [each.key for each in (*first, *second)] == sorted([*wanted, KEY])
    assert {each.size_bytes for each in first} == {7}
    assert all(abs((each.modified_at - system_now()).total_seconds()) < 60 for each in first)

    await through_faults.delete([*wanted, "outputs/team/run/none.json"])

    assert gateway.object_keys() == sorted([KEY, other])
    assert [each.key for each in await through_faults.page("outputs/team")] == [KEY]
    proxy.faults = {"DELETE": [StoreFault.LOST]}
    with pytest.raises(StoreUnavailableError):  # the server has deleted it, which nobody knows
        await through_faults.delete([KEY])
    await through_faults.delete([KEY])
    assert gateway.object_keys() == [other]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"bucket": "other"}, "the bucket does not exist"),
        ({"credentials": {"AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": "guessed"}}, "it answered 403"),
        ({"credentials": {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "guessed"}}, "it answered 404"),
    ],
)
async def test_what_the_server_refuses_is_said_without_secrets(
    gateway: Gateway, change: dict[str, Any], cause: str
) -> None:
    store = open_s3_store(replace(gateway.location(), **change), timeout_seconds=10)

    calls = (
        partial(store.write, KEY, b"{}"),
        partial(store.read, KEY, LIMIT),
        partial(store.page, "outputs"),
        partial(store.delete, [KEY]),
    )
    for call in calls:
        with pytest.raises(StoreUnavailableError) as caught:
            await call()
        assert cause in str(caught.value)
        assert "guessed" not in str(caught.value)
    assert gateway.object_keys() == []


async def test_a_server_whose_authority_is_unknown_gets_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(StoreUnavailableError, match="the certificate of the server is not trusted"):
        await open_s3_store(gateway.location(), timeout_seconds=10).write(KEY, b"{}")
    with pytest.raises(StorageError) as caught:
        await trio.to_thread.run_sync(sdk_store(gateway).write, KEY, b"{}", "application/json")
    assert SECRET_KEY not in str(caught.value)
    assert gateway.object_keys() == []


@pytest.mark.parametrize("fault", [StoreFault.ERROR, StoreFault.SLOW_DOWN, StoreFault.LOST])
async def test_a_passing_fault_is_retried(
    gateway: Gateway, proxy: FaultyProxy, through_faults: Store, fault: StoreFault
) -> None:
    proxy.faults = {"PUT": [fault], "GET": [fault]}

    await through_faults.write(KEY, b"content")

    assert await through_faults.read(KEY, LIMIT) == b"content"
    assert proxy.seen == ["PUT", "PUT", "GET", "GET"]
    assert gateway.object_keys() == [KEY]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [(StoreFault.ERROR, "it answered 500 InternalError"), (StoreFault.SLOW_DOWN, "it answered 503 SlowDown")],
)
async def test_a_fault_that_stays_is_reported(
    proxy: FaultyProxy, through_faults: Store, fault: StoreFault, cause: str
) -> None:
    proxy.faults = {"PUT": [fault] * 9, "GET": [fault] * 9}

    with pytest.raises(StoreUnavailableError, match=f"cannot be written: {cause}"):
        await through_faults.write(KEY, b"content")
    with pytest.raises(StoreUnavailableError, match=f"cannot be read: {cause}"):
        await through_faults.read(KEY, LIMIT)
    assert proxy.seen == ["PUT"] * 3 + ["GET"] * 3


async def test_a_server_that_hangs_costs_no_more_than_the_deadline(gateway: Gateway, proxy: FaultyProxy) -> None:
    store = open_s3_store(gateway.location(proxy.url), timeout_seconds=0.5)
    proxy.faults = {"PUT": [StoreFault.HANG] * 9, "GET": [StoreFault.HANG] * 9}

    began_at = trio.current_time()
    with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.5 s"):
        await store.write(KEY, b"content")
    with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.5 s"):
        await store.read(KEY, LIMIT)
    assert trio.current_time() - began_at < 5


async def test_an_upload_that_was_altered_on_its_way_is_not_stored(
    gateway: Gateway, proxy: FaultyProxy, through_faults: Store
) -> None:
    proxy.faults = {"PUT": [StoreFault.ALTERED] * 9}

    with pytest.raises(StoreUnavailableError, match="it answered 400"):
        await through_faults.write(KEY, b"the content")

    assert gateway.object_keys() == []


async def test_an_answer_that_is_cut_or_altered_is_not_taken_for_the_object(
    gateway: Gateway, proxy: FaultyProxy, through_faults: Store
) -> None:
    planned = plan({"text": "x" * 5000}, ObjectPlace(Folder.INPUTS, "team", "run"), OffloadBounds(1000, 1000))
    [stored] = planned.objects
    await through_faults.write(stored.key, stored.content)
    proxy.faults = {"GET": [StoreFault.CUT] * 9}
    with pytest.raises(StoreUnavailableError):
        await through_faults.read(stored.key, LIMIT)
    proxy.faults = {"GET": [StoreFault.ALTERED]}

    with pytest.raises(PayloadError, match="its SHA-256 differs from the one in the key"):
        await hydrate(planned.remaining, through_faults, namespace="team", field="with")


def settings_for(gateway: Gateway, *, delete_with_run: bool = True) -> OperatorSettings:
    storage = StorageSettings(
        StorageProvider.S3,
        BUCKET,
        REGION,
        gateway.url,
        s3_use_path_style=True,
        s3_auth_secret_name="store-access",
        s3_credential_namespaces=(NAMESPACE_NAME,),
        delete_with_run=delete_with_run,
    )
    return OperatorSettings(storage=storage)


async def furnish(world: OperatorCluster, gateway: Gateway) -> None:
    """The Secret of the store, and the two Engrams."""
    secret = {"metadata": {"name": "store-access", "namespace": OPERATOR_NAMESPACE}, "stringData": {}}
    await world.client.create(SECRET, {**secret, "stringData": gateway.credentials})
    trusts = f"SSL_CERT_FILE={gateway.authority.ca_file}"
    for name in ("make", "measure"):
        await world.engram(name, command=["/usr/bin/env", trusts, sys.executable, str(PROGRAM), name])


async def test_what_a_deleted_run_has_stored_is_swept_and_the_cache_is_cleared(
    gateway: Gateway, tmp_path: Path, furnished: SessionCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once, options = timedelta(milliseconds=1), CommonOptions(namespace=NAMESPACE_NAME, yes=True, output="json")
    async with open_on_real(tmp_path / "world", furnished, isolate=False) as world:
        await furnish(world, gateway)
        config = {
            "controller.storage.provider": "s3",
            "controller.storage.s3.bucket": BUCKET,
            "controller.storage.s3.region": REGION,
            "controller.storage.s3.endpoint": gateway.url,
            "controller.storage.s3.use-path-style": "true",
            "controller.storage.s3.auth-secret-name": "store-access",
        }
        metadata = {"name": CONFIG_NAME, "namespace": OPERATOR_NAMESPACE}
        await world.client.create(CONFIG_MAP, {"metadata": metadata, "data": config})
        session = Session(world.client, world.client.config, options, Console(options))
        made = step("make", "make", execution={"cache": {}}, **{"with": {"size": DATA_BYTES, "letter": "a"}})
        await world.story("cached", made, output={"text": "{{ steps.make.output.text }}"})
        async with world.operator(settings_for(gateway, delete_with_run=False)):
            await world.run("one", "cached")
            assert status_of(await world.finished("one", seconds=60))["phase"] == "Succeeded"
            await world.run("two", "cached")
            two = status_of(await world.finished("two", seconds=60))
            stored = gateway.object_keys()
            await sweep(session, delete=True, older_than=at_once)
            assert gateway.object_keys() == stored

            await world.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
            await world.gone(STORY_RUN, "one")
            await world.gone(STEP_RUN, "one-make")
            await sweep(session, delete=True, older_than=at_once)

        left = gateway.object_keys()
        whole = await hydrate(
            two["output"], open_s3_store(gateway.location()), namespace=NAMESPACE_NAME, field="output"
        )
        assert whole == {"text": "a" * DATA_BYTES}
        assert {key.split("/")[2] for key in set(stored) - set(left)} == {"one", "one-make"}
        assert not [key for key in left if key.split("/")[2] in ("one", "one-make")]
        await clear_cache(session, CacheSelection("make"))
        assert [key for key in left if key.startswith("cache/")]
        assert gateway.object_keys() == [key for key in left if not key.startswith("cache/")]
        capsys.readouterr()
        await show_usage(session)
    [of_two] = [each for each in orjson.loads(capsys.readouterr().out)["runs"] if each["run"] == "two"]
    assert of_two["exists"]
    assert of_two["bytes"] > DATA_BYTES


async def test_large_data_of_a_run_survives_the_death_of_the_server_and_goes_with_the_run(
    gateway: Gateway, tmp_path: Path, furnished: SessionCluster
) -> None:
    """Containers, operator and a reader use one server, which is killed again and again."""
    async with open_on_real(tmp_path / "world", furnished, isolate=False) as world:
        await furnish(world, gateway)
        makers = [step(f"make-{n}", "make", **{"with": {"size": DATA_BYTES, "letter": "abcdef"[n]}}) for n in range(4)]
        measures = [
            step(f"measure-{n}", "measure", **{"with": {"text": f"{{{{ steps['make-{n}'].output.text }}}}"}})
            for n in range(4)
        ]
        joined = step("join", "measure", **{"with": {"text": JOINED}})
        output = {"text": "{{ steps['make-0'].output.text }}", "rows": "{{ steps['make-1'].output.rows }}"}
        await world.story("large", *makers, *measures, joined, output=output)
        async with world.operator(settings_for(gateway)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(restart_repeatedly, gateway)
                await world.run("one", "large")
                run = await world.finished("one", seconds=60)
                step_runs = (await world.client.list(STEP_RUN, NAMESPACE_NAME)).items
                await expect_whole(gateway, run, step_runs)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(restart_repeatedly, gateway)
                await world.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
                await world.gone(STORY_RUN, "one", seconds=60)
    assert gateway.object_keys() == []


async def restart_repeatedly(gateway: Gateway) -> None:
    for _ in range(4):
        await trio.sleep(1.0)
        await gateway.restart()


async def expect_whole(gateway: Gateway, run: Object, step_runs: Sequence[Object]) -> None:
    """Everything that the run has stored is there, and nothing large is in its objects."""
    found = {obj["spec"]["stepId"]: status_of(obj)["output"] for obj in step_runs}
    assert status_of(run)["phase"] == "Succeeded", status_of(run)
    assert [found[f"measure-{n}"] for n in range(4)] == [{"length": DATA_BYTES, "letter": "abcd"[n]} for n in range(4)]
    assert found["join"] == {"length": 4 * 2000 + 3, "letter": "a"}
    assert max(len(orjson.dumps(status_of(obj))) for obj in (run, *step_runs)) < 16 * 1024
    store = open_s3_store(gateway.location())
    whole = await hydrate(status_of(run)["output"], store, namespace=NAMESPACE_NAME, field="output")
    assert whole == {"text": "a" * DATA_BYTES, "rows": [{"n": number} for number in range(500)]}
    assert all(NAMESPACE_NAME in key.split("/")[:2] for key in gateway.object_keys())


async def test_a_server_that_dies_during_uploads_keeps_whole_objects_only(gateway: Gateway) -> None:
    store, dice = open_s3_store(gateway.location(), timeout_seconds=20), random.Random(7)
    contents = {f"outputs/team/run/{number}.json": dice.randbytes(2 * MIB) for number in range(12)}
    acknowledged: list[str] = []

    async def upload(key: str) -> None:
        while True:
            try:
                await store.write(key, contents[key])
            except StoreUnavailableError:
                await trio.sleep(0.1)
            else:
                acknowledged.append(key)
                return

    async with trio.open_nursery() as nursery:
        for key in contents:
            nursery.start_soon(upload, key)
        for _ in range(3):
            await trio.sleep(dice.uniform(0.02, 0.15))
            await gateway.restart()

    assert sorted(acknowledged) == sorted(contents)
    for key, content in contents.items():
        assert await store.read(key, LIMIT) == content
    assert os.environ["SSL_CERT_FILE"]


async def test_files_of_any_size_go_through_with_bounded_memory(gateway: Gateway, tmp_path: Path) -> None:
    """A file that the SDK saves and fetches again, in a process of its own, whose memory is measured."""
    file = tmp_path / "large.bin"
    part = random.Random(3).randbytes(MIB)
    await trio.to_thread.run_sync(lambda: file.write_bytes(part * (LARGE_FILE_BYTES // MIB)))
    environment = {
        **os.environ,
        **gateway.credentials,
        "BUBU_STORAGE_S3_BUCKET": BUCKET,
        "BUBU_STORAGE_S3_ENDPOINT": gateway.url,
    }
    command = [sys.executable, str(PROGRAM.with_name("large_file.py")), str(file)]
    done = await trio.run_process(command, env=environment, capture_stdout=True)

    grown_bytes = json.loads(done.stdout)["grownBytes"]
    assert grown_bytes < MOST_GROWTH_BYTES, f"{grown_bytes / MIB:.0f} MiB"
    [key] = [key for key in gateway.object_keys() if "/large." in key]
    assert (gateway.folder / key).stat().st_size == LARGE_FILE_BYTES
