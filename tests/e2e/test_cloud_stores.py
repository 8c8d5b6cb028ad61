"""The object stores of Google and Azure, as operator and SDK use them, over TLS, with faults between.

Azure is Azurite, an emulator; Google Cloud Storage is a double of our own (``object_store.google``). The settings are
those of the operator's ConfigMap, and the SDK gets the variables that the operator gives to containers.
"""

from __future__ import annotations

import base64
import io
import random
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

import orjson
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import rsa

from bubu_sdk.errors import StorageError
from bubu_sdk.storage import Store as SdkStore
from bubu_sdk.stores import open_store as open_sdk_store
from cli.console import Console
from cli.options import CommonOptions
from cli.session import Session
from cli.verbs.outputs import read_stored
from cli.verbs.storage import show_usage
from cli.verbs.storage import sweep_store as sweep
from core.api.resource import CONFIG_MAP, SECRET, STEP_RUN, STORY_RUN
from core.engine.clock import system_now
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, plan
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.hydrate import hydrate
from core.payloads.store import Store
from core.policy.config import parse_config
from core.policy.settings import OperatorSettings
from core.policy.sources import operator_storage
from core.workloads.storage import storage_environment
from deployment.permissions.names import CONFIG_NAME
from reconcilers.adapters import payload_store
from tests.e2e.object_store.authority import Authority, make_authority
from tests.e2e.object_store.azurite import (
    ACCOUNT_KEY,
    AZURE_ACCOUNT,
    CLIENT_SECRET,
    TENANT,
    Azurite,
    open_token_service,
    run_azurite,
    shared_access_signature,
)
from tests.e2e.object_store.exchange import exchange
from tests.e2e.object_store.faulty import FaultyProxy, StoreFault, StoreServer, open_faulty
from tests.e2e.object_store.google import (
    GOOGLE_BUCKET,
    GoogleDouble,
    account_key,
    new_private_key,
    open_google,
)
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OPERATOR_NAMESPACE,
    OperatorCluster,
    open_on_real,
    status_of,
    step,
)
from tools.control_plane.binaries import MissingBinariesError
from tools.control_plane.session import SessionCluster

KEY: Final = "outputs/team/run-step/items.0.a%2Eb é.json"
LIMIT: Final = 4 * 1024 * 1024
MIB: Final = 1024 * 1024
FILE_BYTES: Final = 20 * MIB
"""Three parts of the SDK's size."""
DATA_BYTES: Final = MIB
PROGRAM: Final = Path(__file__).parent / "engrams" / "large_data.py"
JOINED: Final = '{{ printf "%.5000s" steps.make.output.text }}'
"""Read by the operator, which stores it for the step that gets it."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A store of one provider.

    Attributes:
        config: keys of the operator's ConfigMap; ``{url}`` in the endpoint is the server's address.
        secret: the data of the Secret with its credentials.
        wrong_secrets: the same with other credentials.
        no_such_place: a change of ``config`` to a bucket or container that does not exist.
        texts: what no message may have.
    """

    server: StoreServer
    config: Mapping[str, str]
    secret: Mapping[str, str]
    wrong_secrets: tuple[Mapping[str, str], ...]
    no_such_place: Mapping[str, str]
    place: str
    texts: tuple[str, ...]

    def settings(self, url: str = "", change: Mapping[str, str] = MappingProxyType({})) -> OperatorSettings:
        config = {
            key: value.replace("{url}", url or self.server.url) for key, value in {**self.config, **change}.items()
        }
        parsed = parse_config(config)
        assert parsed.settings is not None, parsed.errors
        return parsed.settings

    def store(
        self,
        url: str = "",
        *,
        secret: Mapping[str, str] | None = None,
        timeout_seconds: float = 10,
        change: Mapping[str, str] = MappingProxyType({}),
    ) -> Store:
        """The operator's store."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in (secret or self.secret).items()}
        storage = self.settings(url, change).storage
        credentials = payload_store.credentials_in({"data": data}, storage, "here")
        return payload_store.open_store(storage, credentials, timeout_seconds)

    def sdk_store(self, url: str = "", *, secret: Mapping[str, str] | None = None, **more: str) -> SdkStore:
        """The store of a container, from the variables that the operator gives it."""
        given: dict[str, str] = {}
        for each in storage_environment(operator_storage(self.settings(url))):
            value = each.get("value") or (secret or self.secret).get(each["name"])
            given |= {each["name"]: value} if value else {}
        found = open_sdk_store(given | more)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return new_private_key()


@pytest.fixture(scope="module")
def azurite(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    try:
        with run_azurite(authority, tmp_path_factory.mktemp("azurite")) as opened:
            yield opened
    except MissingBinariesError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["gcs", "azure"])
async def cloud(
    request: pytest.FixtureRequest, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cloud]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    if request.param == "azure":
        yield in_azure(request.getfixturevalue("azurite"))
        return
    async with open_google(authority, request.getfixturevalue("private_key")) as double:
        yield in_google(double)


@pytest.fixture
def azure(azurite: Azurite, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    return in_azure(azurite)


@pytest.fixture
async def proxy(cloud: Cloud) -> AsyncIterator[FaultyProxy]:
    async with open_faulty(cloud.server) as opened:
        yield opened


def in_google(double: GoogleDouble) -> Cloud:
    return Cloud(
        double,
        {
            "controller.storage.provider": "gcs",
            "controller.storage.gcs.bucket": GOOGLE_BUCKET,
            "controller.storage.gcs.endpoint": "{url}",
            "controller.storage.gcs.auth-secret-name": "store-access",
            "controller.storage.gcs.credential-namespaces": NAMESPACE_NAME,
        },
        {"GOOGLE_SERVICE_ACCOUNT_KEY": double.account_key},
        ({"GOOGLE_SERVICE_ACCOUNT_KEY": account_key(new_private_key())},),
        {"controller.storage.gcs.bucket": "other"},
        "bucket",
        ("PRIVATE KEY", "Bearer", "eyJ"),
    )


def in_azure(azurite: Azurite) -> Cloud:
    container = f"payloads-{uuid4().hex}"
    azurite.create_container(container)
    return Cloud(
        azurite,
        {
            "controller.storage.provider": "azure",
            "controller.storage.azure.account": AZURE_ACCOUNT,
            "controller.storage.azure.container": container,
            "controller.storage.azure.endpoint": f"{{url}}/{AZURE_ACCOUNT}",
            "controller.storage.azure.auth-secret-name": "store-access",
            "controller.storage.azure.credential-namespaces": NAMESPACE_NAME,
        },
        {"AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY},
        (
            {"AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"guessed" * 8).decode()},
            {"AZURE_STORAGE_SAS_TOKEN": shared_access_signature(container) + "guessed"},
        ),
        {"controller.storage.azure.container": "other"},
        "container",
        (ACCOUNT_KEY, "guessed", "sig=", CLIENT_SECRET),
    )


async def test_operator_and_sdk_read_what_the_other_has_written(cloud: Cloud) -> None:
    store = cloud.store()
    key = await exchange(store, cloud.sdk_store())

    with pytest.raises(PayloadError, match="does not exist"):
        await store.read("outputs/team/none.json", LIMIT)
    with pytest.raises(PayloadError, match="does not exist"):
        await store.copy("outputs/team/none.json", KEY)
    with pytest.raises(PayloadError, match="larger than 10 bytes"):
        await store.read(key, 10)


async def test_a_file_of_several_parts_is_stored_copied_and_fetched(cloud: Cloud, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(FILE_BYTES)
    store, of_sdk, fetched = cloud.store(), cloud.sdk_store(), io.BytesIO()
    upload = partial(of_sdk.upload, KEY, io.BytesIO(content), len(content), "application/octet-stream")

    await trio.to_thread.run_sync(upload)
    await store.copy(KEY, "cache/team/copy é.bin")
    await store.download("cache/team/copy é.bin", tmp_path / "file", FILE_BYTES)
    await trio.to_thread.run_sync(of_sdk.download, "cache/team/copy é.bin", fetched, FILE_BYTES)

    assert (tmp_path / "file").read_bytes() == content
    assert fetched.getvalue() == content
    with pytest.raises(PayloadError, match="larger than 1,000 bytes"):
        await store.download(KEY, tmp_path / "file", 1000)
    if isinstance(cloud.server, GoogleDouble):
        [of_google] = [cloud.server.objects[KEY]]
        assert (of_google.parts, of_google.content_type) == (3, "application/octet-stream")
        assert cloud.server.uploads == {}


async def test_objects_are_listed_in_pages_and_deleted(cloud: Cloud, proxy: FaultyProxy) -> None:
    wanted = [f"outputs/team/run/{number}.json" for number in range(7)]
    other = "outputs/team-b/run/0.json"
    store = cloud.store(proxy.url)
    for key in (*wanted, KEY, other):
        await store.write(key, b"content")

    first = await store.page("outputs/team", limit=5)
    proxy.faults = {method: [StoreFault.SLOW_DOWN] for method in ("GET", "DELETE", "POST")}
    second = await store.page("outputs/team", after=first[-1].key, limit=5)
    assert [each.key for each in (*first, *second)] == sorted([*wanted, KEY])
    assert {each.size_bytes for each in first} == {7}
    assert all(abs((each.modified_at - system_now()).total_seconds()) < 60 for each in first)
    assert await store.page("outputs/team", after=second[-1].key) == []
    assert await store.page("outputs/none") == []

    await store.delete([*wanted, "outputs/team/run/none.json"])

    assert [each.key for each in await store.page("outputs")] == [other, KEY]
    proxy.faults = {method: [StoreFault.LOST] * 3 for method in ("DELETE", "POST")}
    with pytest.raises(StoreUnavailableError):  # the server has deleted it, which nobody knows
        await store.delete([KEY])
    proxy.faults = {}
    await store.delete([KEY])
    assert [each.key for each in await store.page("outputs")] == [other]


async def test_what_the_server_refuses_is_said_without_secrets(cloud: Cloud) -> None:
    for secret in cloud.wrong_secrets:
        for call in calls(cloud.store(secret=secret)):
            with pytest.raises(
                StoreUnavailableError, match=r"it answered 40[013]\b.*; check the credentials"
            ) as caught:
                await call()
            assert not any(text in str(caught.value) for text in cloud.texts)
            assert caught.value.__cause__ is None
        with pytest.raises(StorageError) as failed:
            await trio.to_thread.run_sync(cloud.sdk_store(secret=secret).write, KEY, b"{}", "application/json")
        assert not any(text in str(failed.value) for text in cloud.texts)
    for call in calls(cloud.store(change=cloud.no_such_place))[:3]:
        with pytest.raises(StoreUnavailableError, match=f"the {cloud.place} does not exist"):
            await call()
    assert await cloud.store().page("outputs") == []


def calls(store: Store) -> tuple[Any, ...]:
    return (
        partial(store.write, KEY, b"{}"),
        partial(store.read, KEY, LIMIT),
        partial(store.page, "outputs"),
        partial(store.delete, [KEY]),
    )


async def test_a_server_whose_authority_is_unknown_gets_nothing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(StoreUnavailableError, match="the certificate of the server is not trusted"):
        await cloud.store().write(KEY, b"{}")
    with pytest.raises(StorageError) as caught:
        await trio.to_thread.run_sync(cloud.sdk_store().write, KEY, b"{}", "application/json")
    assert not any(text in str(caught.value) for text in cloud.texts)


@pytest.mark.parametrize("fault", [StoreFault.ERROR, StoreFault.SLOW_DOWN, StoreFault.LOST])
async def test_a_passing_fault_is_retried(cloud: Cloud, proxy: FaultyProxy, fault: StoreFault) -> None:
    store = cloud.store(proxy.url)
    proxy.faults = {"PUT": [fault], "GET": [fault]}

    await store.write(KEY, b"content")

    assert await store.read(KEY, LIMIT) == b"content"
    assert proxy.seen == ["PUT", "PUT", "GET", "GET"]


async def test_a_fault_that_stays_is_reported(cloud: Cloud, proxy: FaultyProxy) -> None:
    store = cloud.store(proxy.url)
    proxy.faults = {"PUT": [StoreFault.SLOW_DOWN] * 9, "GET": [StoreFault.ERROR] * 9}

    with pytest.raises(StoreUnavailableError, match="cannot be written: it answered 503 SlowDown"):
        await store.write(KEY, b"content")
    with pytest.raises(StoreUnavailableError, match="cannot be read: it answered 500 InternalError"):
        await store.read(KEY, LIMIT)
    assert proxy.seen == ["PUT"] * 3 + ["GET"] * 3


async def test_a_server_that_hangs_costs_no_more_than_the_deadline(cloud: Cloud, proxy: FaultyProxy) -> None:
    store = cloud.store(proxy.url, timeout_seconds=0.3)
    proxy.faults = {method: [StoreFault.HANG] * 9 for method in ("PUT", "GET", "POST", "DELETE")}

    began_at = trio.current_time()
    for call in calls(store):
        with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.3 s"):
            await call()
    assert trio.current_time() - began_at < 5


async def test_an_answer_that_is_cut_or_altered_is_not_taken_for_the_object(cloud: Cloud, proxy: FaultyProxy) -> None:
    planned = plan({"text": "x" * 5000}, ObjectPlace(Folder.INPUTS, "team", "run"), OffloadBounds(1000, 1000))
    [stored], store = planned.objects, cloud.store(proxy.url)
    await store.write(stored.key, stored.content)
    proxy.faults = {"GET": [StoreFault.CUT] * 9}
    with pytest.raises(StoreUnavailableError):
        await store.read(stored.key, LIMIT)
    proxy.faults = {"GET": [StoreFault.ALTERED]}

    with pytest.raises(PayloadError, match="its SHA-256 differs from the one in the key"):
        await hydrate(planned.remaining, store, namespace="team", field="with")


# The other ways to sign in to Azure.


async def test_a_shared_access_signature_is_enough(azure: Cloud) -> None:
    secret = {
        "AZURE_STORAGE_SAS_TOKEN": f"?{shared_access_signature(azure.config['controller.storage.azure.container'])}"
    }
    store, of_sdk = azure.store(secret=secret), azure.sdk_store(secret=secret)

    await trio.to_thread.run_sync(of_sdk.write, KEY, b"content", "application/json")
    await store.copy(KEY, "cache/team/copy.bin")

    assert await store.read("cache/team/copy.bin", LIMIT) == b"content"
    await store.delete([KEY, "outputs/team/none.json"])
    assert await store.page("outputs") == []


async def test_a_client_gets_its_tokens_where_its_secret_belongs(azure: Cloud, authority: Authority) -> None:
    async with open_token_service(authority) as issuer:
        secret = {
            "AZURE_CLIENT_ID": "client",
            "AZURE_CLIENT_SECRET": CLIENT_SECRET,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_AUTHORITY_HOST": issuer,
        }
        await azure.store(secret=secret).write(KEY, b"content")
        assert await trio.to_thread.run_sync(azure.sdk_store(secret=secret).read, KEY) == b"content"

        refused = secret | {"AZURE_CLIENT_SECRET": "guessed"}
        with pytest.raises(
            StoreUnavailableError, match=r"there is no token for its credentials \(Azure answered 401\)"
        ) as caught:
            await azure.store(secret=refused).read(KEY, LIMIT)
        with pytest.raises(StorageError) as failed:
            await trio.to_thread.run_sync(azure.sdk_store(secret=refused).read, KEY)
    for error in (caught.value, failed.value):
        assert not any(text in str(error) for text in azure.texts)


# A run.


@asynccontextmanager
async def a_run_of_the_operator(
    cloud: Cloud, folder: Path, furnished: SessionCluster, authority: Authority
) -> AsyncIterator[OperatorCluster]:
    """The operator with this store, and two Engrams."""
    async with open_on_real(folder, furnished, isolate=False) as world:
        metadata = {"name": "store-access", "namespace": OPERATOR_NAMESPACE}
        await world.client.create(SECRET, {"metadata": metadata, "stringData": dict(cloud.secret)})
        config = {key: value.replace("{url}", cloud.server.url) for key, value in cloud.config.items()}
        named = {"name": CONFIG_NAME, "namespace": OPERATOR_NAMESPACE}
        await world.client.create(CONFIG_MAP, {"metadata": named, "data": config})
        for name in ("make", "measure"):
            trusts = f"SSL_CERT_FILE={authority.ca_file}"
            await world.engram(name, command=["/usr/bin/env", trusts, sys.executable, str(PROGRAM), name])
        async with world.operator(replace(OperatorSettings(), storage=cloud.settings().storage)):
            yield world


async def test_a_run_keeps_its_data_there_until_it_is_deleted(
    cloud: Cloud, tmp_path: Path, furnished: SessionCluster, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once, options = timedelta(milliseconds=1), CommonOptions(namespace=NAMESPACE_NAME, yes=True, output="json")
    store = cloud.store()
    async with a_run_of_the_operator(cloud, tmp_path / "world", furnished, authority) as world:
        steps = [
            step("make", "make", **{"with": {"size": DATA_BYTES, "letter": "a"}}),
            step("measure", "measure", **{"with": {"text": "{{ steps.make.output.text }}"}}),
            step("join", "measure", **{"with": {"text": JOINED}}),
        ]
        await world.story("large", *steps, output={"text": "{{ steps.make.output.text }}"})
        await world.run("one", "large")
        run = await world.finished("one", seconds=60)
        found = {
            each["spec"]["stepId"]: status_of(each)["output"]
            for each in (await world.client.list(STEP_RUN, NAMESPACE_NAME)).items
        }

        assert status_of(run)["phase"] == "Succeeded", status_of(run)
        assert found["measure"] == {"length": DATA_BYTES, "letter": "a"}
        assert found["join"] == {"length": 5000, "letter": "a"}
        whole = await hydrate(status_of(run)["output"], store, namespace=NAMESPACE_NAME, field="output")
        assert whole == {"text": "a" * DATA_BYTES}
        session = Session(world.client, world.client.config, options, Console(options))
        assert await read_stored(session, {"output": status_of(run)["output"]}, NAMESPACE_NAME) == {"output": whole}
        stored = [each.key for folder in ("outputs", "inputs") for each in await store.page(folder)]
        assert {key.split("/")[0] for key in stored} == {"outputs", "inputs"}
        await sweep(session, delete=True, older_than=at_once)
        assert [each.key for folder in ("outputs", "inputs") for each in await store.page(folder)] == stored
        capsys.readouterr()
        await show_usage(session)
        assert orjson.loads(capsys.readouterr().out)["runs"][0]["bytes"] > DATA_BYTES

        await world.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
        await world.gone(STORY_RUN, "one", seconds=60)

    assert [each.key for folder in ("outputs", "inputs") for each in await store.page(folder)] == []
