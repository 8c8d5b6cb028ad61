"""The object store on a real S3 server: files of the SDK against obstore alone, many small objects, and memory.

The ratios are of one run, in turns, on the same server and the same machine. Without Go, or the built program, there is
no server, and the measurement says so.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import obstore
import trio
from obstore.store import S3Store

from bench.report import Row, Unit, Value
from bubu_sdk import s3
from bubu_sdk.artifacts import ArtifactPlace, Artifacts
from core.payloads.store import open_s3_store
from tests.e2e.object_store.gateway import BUCKET, REGION, Gateway, open_gateway

FILE_BYTES: Final = 64 * 1024 * 1024
SMALL_BYTES: Final = 10 * 1024
SMALL_OBJECTS: Final = 1000
ROUNDS: Final = 7


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(_measured, Path(folder))


async def _measured(folder: Path) -> list[Row]:
    (folder / "server").mkdir()
    async with open_gateway(folder / "server") as gateway:
        os.environ["SSL_CERT_FILE"] = str(gateway.authority.ca_file)
        return [*await trio.to_thread.run_sync(_files, folder, gateway), *await _small_objects(gateway)]


def _files(folder: Path, gateway: Gateway) -> list[Row]:
    own = {"BUBU_STORAGE_S3_BUCKET": BUCKET, "BUBU_STORAGE_S3_ENDPOINT": gateway.url, **gateway.credentials}
    artifacts = Artifacts(s3.open_s3_store(own), ArtifactPlace("outputs", "team", "run-step"))
    alone = _bucket(gateway)
    file, fetched = folder / "file.bin", folder / "fetched"
    file.write_bytes(os.urandom(FILE_BYTES))
    saved = artifacts.save(file)
    _put(alone, file)
    calls: dict[str, Callable[[], Any]] = {
        "save": lambda: artifacts.save(file),
        "put": lambda: _put(alone, file),
        "fetch": lambda: artifacts.fetch(saved, fetched),
        "get": lambda: _get(alone, fetched / "alone"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(each) for name, each in seconds.items()}
    mib = FILE_BYTES / (1 << 20)
    return [
        Row("64 MiB saved by the SDK, of what obstore alone reaches", _share(median["put"], median["save"])),
        Row("64 MiB fetched by the SDK, of what obstore alone reaches", _share(median["get"], median["fetch"])),
        Row("… MiB/s: save, put, fetch, get", ", ".join(f"{mib / each:.0f}" for each in median.values())),
    ]


def _share(alone: float, ours: float) -> Value:
    return Value(alone / ours, Unit(" %", 100), at_least=0.8)


async def _small_objects(gateway: Gateway) -> list[Row]:
    store, content = open_s3_store(gateway.location()), os.urandom(SMALL_BYTES)
    keys = [f"outputs/team/run/{number}.json" for number in range(SMALL_OBJECTS)]
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(store.write, key, content)
    written = time.perf_counter() - began
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(partial(store.read, limit_bytes=SMALL_BYTES), key)
    read = time.perf_counter() - began
    return [Row("1,000 objects of 10 KiB written, then read, by the operator", f"{written:.1f} s, {read:.1f} s")]


def _bucket(gateway: Gateway) -> S3Store:
    return S3Store(
        BUCKET,
        config={
            "endpoint": gateway.url,
            "region": REGION,
            "virtual_hosted_style_request": False,
            "checksum_algorithm": "SHA256",
            "access_key_id": gateway.credentials["AWS_ACCESS_KEY_ID"],
            "secret_access_key": gateway.credentials["AWS_SECRET_ACCESS_KEY"],
        },
    )


def _put(bucket: S3Store, file: Path) -> None:
    obstore.put(bucket, "outputs/team/alone.bin", file)


def _get(bucket: S3Store, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with target.open("wb") as file:
        for part in obstore.get(bucket, "outputs/team/alone.bin").stream():
            file.write(part)
