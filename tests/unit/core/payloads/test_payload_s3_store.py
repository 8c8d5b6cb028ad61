"""A bucket behind a server that may answer anything."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import obstore
import obstore.store
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.payloads import key as keys
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.store import S3Location, open_s3_store

SECRETS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_SESSION_TOKEN": "token"}
ERROR = b"<Error><Code>%s</Code><Message>hunter2</Message></Error>"
LIMIT = 1000
ROOT = Path(__file__).parents[4]


class Bucket(BaseHTTPRequestHandler):
    """Answers by the key: a key that is a number gives that status."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {
        "/bucket/outputs/ns/sr/a%252Eb%20%C3%A9.json": b"{}",
        "/bucket/fits": b"x" * 1000,
        "/bucket/large": b"x" * 1001,
    }
    listed: ClassVar[list[str]] = []
    """The keys in the bucket, as listings show them."""
    deleted: ClassVar[list[str]] = []
    written: ClassVar[dict[str, bytes]] = {}
    requests: ClassVar[list[tuple[str, Mapping[str, str]]]] = []

    def do_GET(self) -> None:
        self.requests.append((self.path, dict(self.headers)))
        if "list-type=2" in self.path:
            self._list(urllib.parse.parse_qs(self.path.partition("?")[2]))
            return
        name = self.path.rsplit("/", 1)[1]
        if name == "endless":
            self._answer(200, b"", length=10 * 1024**3)
        elif name == "slow":
            time.sleep(0.6)
            self._answer(200, b"{}")
        elif name == "no-bucket":
            self._answer(404, ERROR % b"NoSuchBucket")
        elif name.isdigit():
            self._answer(int(name), ERROR % b"SomeCode")
        elif self.path in self.objects:
            self._answer(200, self.objects[self.path])
        else:
            self._answer(404, ERROR % b"NoSuchKey")

    def do_PUT(self) -> None:
        self.requests.append((self.path, dict(self.headers)))
        content = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.rsplit("/", 1)[1]
        if name == "slow":
            time.sleep(0.6)
        if name.isdigit():
            self._answer(int(name), ERROR % b"SomeCode")
        elif name == "no-bucket":
            self._answer(404, ERROR % b"NoSuchBucket")
        else:
            self.written[self.path] = content
            self._answer(200, b"")

    def do_DELETE(self) -> None:
        self.requests.append((self.path, dict(self.headers)))
        name = self.path.rsplit("/", 1)[1]
        if name == "slow":
            time.sleep(0.6)
        if name.isdigit():
            self._answer(int(name), ERROR % b"SomeCode")
        elif name == "no-bucket":
            self._answer(404, ERROR % b"NoSuchBucket")
        elif name == "none":  # S3 says 204, some servers do not
            self._answer(404, ERROR % b"NoSuchKey")
        else:
            self.deleted.append(urllib.parse.unquote(self.path))
            self._answer(204, b"")

    def _list(self, query: Mapping[str, list[str]]) -> None:
        """As S3 does: sorted keys after ``start-after``, two in one answer."""
        prefix = query["prefix"][0]
        if prefix.strip("/").isdigit():
            self._answer(int(prefix.strip("/")), ERROR % b"SomeCode")
            return
        if prefix == "slow/":
            time.sleep(0.6)
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        found = [key for key in sorted(self.listed) if key.startswith(prefix) and key > after]
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>7</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>"
            for key in found[:2]
        )
        more = f"<NextContinuationToken>{found[1]}</NextContinuationToken>" if len(found) > 2 else ""
        self._answer(200, f"<ListBucketResult>{entries}{more}</ListBucketResult>".encode())

    def _answer(self, code: int, content: bytes, length: int | None = None) -> None:
        self.send_response(code)
        self.send_header("ETag", '"tag"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = length is not None

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """The client may close the connection before the answer."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def location(address: str) -> S3Location:
    return S3Location("bucket", endpoint=address, credentials=SECRETS)


async def unavailable(location: S3Location, key: str, timeout_seconds: float = 10) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        await open_s3_store(location, timeout_seconds=timeout_seconds).read(key, LIMIT)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


async def refused(location: S3Location, key: str) -> str:
    with pytest.raises(PayloadError) as caught:
        await open_s3_store(location, timeout_seconds=10).read(key, LIMIT)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


async def test_an_object_is_read_under_the_very_key_that_the_sdk_wrote(location: S3Location) -> None:
    assert await open_s3_store(location).read("outputs/ns/sr/a%2Eb é.json", LIMIT) == b"{}"


async def test_the_credentials_of_the_secret_sign_the_request_and_no_others(
    location: S3Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the process")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-process")

    await open_s3_store(location).read("fits", LIMIT)
    await open_s3_store(replace(location, credentials={**SECRETS, "AWS_SESSION_TOKEN": ""})).read("fits", LIMIT)

    (_, with_token), (_, without) = Bucket.requests[-2:]
    assert with_token["authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")
    assert "/us-east-1/s3/" in with_token["authorization"]
    assert with_token["x-amz-security-token"] == "token"
    assert without["authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")
    assert "x-amz-security-token" not in without


async def test_without_a_secret_the_credentials_are_those_of_the_process(
    location: S3Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-process")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)

    await open_s3_store(replace(location, credentials={}, region="eu-west-3")).read("fits", LIMIT)

    assert "Credential=of-the-process/" in Bucket.requests[-1][1]["authorization"]
    assert "/eu-west-3/s3/" in Bucket.requests[-1][1]["authorization"]


async def test_a_missing_object_is_no_failure_of_the_store(location: S3Location) -> None:
    assert "'none' does not exist" in await refused(location, "none")


@pytest.mark.parametrize("key", ["large", "endless"])
async def test_an_object_is_refused_by_its_size_before_it_is_read(location: S3Location, key: str) -> None:
    assert "larger than 1,000 bytes" in await refused(location, key)
    assert len(await open_s3_store(location).read("fits", LIMIT)) == LIMIT


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        ("401", "it answered 401 SomeCode; check the credentials"),
        ("403", "it answered 403 SomeCode; check the credentials"),
        ("400", "it answered 400 SomeCode"),
        ("429", "it answered 429 SomeCode"),
        ("500", "it answered 500 SomeCode"),
        ("503", "it answered 503 SomeCode"),
        ("no-bucket", "the bucket does not exist"),
    ],
)
async def test_a_store_that_does_not_serve_is_worth_another_try(location: S3Location, key: str, cause: str) -> None:
    assert f"bucket 'bucket' at {location.endpoint} cannot be read: {cause}" in await unavailable(location, key)


async def test_a_slow_store_is_unavailable_in_time(location: S3Location) -> None:
    assert "did not answer within 0.2 s" in await unavailable(location, "slow", timeout_seconds=0.2)


async def test_nobody_at_the_address_is_worth_another_try(location: S3Location) -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        nobody = replace(location, endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert "the connection is refused" in await unavailable(nobody, "fits")


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        (S3Location(""), "has no bucket"),
        (S3Location("b", credentials={"AWS_ACCESS_KEY_ID": "hunter2"}), "needs both AWS_ACCESS_KEY_ID and"),
        (S3Location("b", credentials={"AWS_SESSION_TOKEN": "hunter2"}), "needs both AWS_ACCESS_KEY_ID and"),
        (S3Location("b", endpoint="ftp://host"), "its endpoint must be a URL"),
        (S3Location("b", endpoint="http://id:hunter2@host"), "without a user name"),
        (S3Location("b", endpoint="https://host:x"), "its endpoint must be a URL"),
    ],
)
def test_a_location_that_cannot_be_used_says_why(location: S3Location, problem: str) -> None:
    with pytest.raises(StoreUnavailableError, match=problem) as caught:
        open_s3_store(location)

    assert "hunter2" not in str(caught.value)


def test_a_location_shows_no_credentials() -> None:
    assert "hunter2" not in repr(S3Location("b", credentials=SECRETS))


def test_nothing_of_obstore_is_loaded_until_something_is_read() -> None:
    program = (
        "import sys; from core.payloads.store import S3Location, open_s3_store; open_s3_store(S3Location('b'));"
        "assert 'obstore' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@given(st.text(max_size=20) | st.text(st.sampled_from('a/.\\%~*?#[]{}^`|"<> \n\0é'), max_size=10))
def test_every_key_that_is_let_through_is_one_of_s3_too(key: str) -> None:
    try:
        keys.segments(key)
    except PayloadError:
        return
    bucket = obstore.store.MemoryStore()
    obstore.put(bucket, key, b"{}")
    assert obstore.head(bucket, key)["path"] == key


async def test_an_object_is_written_with_its_checksum(location: S3Location) -> None:
    await open_s3_store(location).write("inputs/ns/run/a%2Eb.json", b"content")

    path, headers = Bucket.requests[-1]
    assert Bucket.written[path] == b"content"
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(b"content").digest()).decode()
    assert headers["content-type"] == "application/json"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=id/")


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        ("403", "it answered 403 SomeCode; check the credentials, and that they allow to put objects"),
        ("507", "it answered 507 SomeCode"),
        ("no-bucket", "the bucket does not exist"),
    ],
)
async def test_a_write_that_is_refused_says_why(location: S3Location, key: str, cause: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        await open_s3_store(location, timeout_seconds=10).write(key, b"content")

    assert f"bucket 'bucket' at {location.endpoint} cannot be written: {cause}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_write_ends_in_time(location: S3Location) -> None:
    with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.2 s"):
        await open_s3_store(location, timeout_seconds=0.2).write("slow", b"content")


async def test_objects_are_listed_in_pages_by_their_keys(location: S3Location) -> None:
    keys_of_team = [f"outputs/team/run/{number}.json" for number in range(5)]
    Bucket.listed[:] = [*keys_of_team, "outputs/team-b/run/0.json", "outputs/team/"]
    store = open_s3_store(location)

    first = await store.page("outputs/team", limit=3)
    second = await store.page("outputs/team", after=first[-1].key, limit=3)

    assert [each.key for each in (*first, *second)] == keys_of_team
    assert len(first) == 3
    assert first[0].size_bytes == 7
    assert first[0].modified_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert await store.page("outputs/none", limit=3) == []


@pytest.mark.parametrize(
    ("folder", "cause"), [("403", "it answered 403 SomeCode; check the credentials, and that they allow to list the")]
)
async def test_a_listing_that_is_refused_says_why(location: S3Location, folder: str, cause: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        await open_s3_store(location, timeout_seconds=10).page(folder)

    assert f"bucket 'bucket' at {location.endpoint} cannot be listed: {cause}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_keys_that_nobody_reads_are_left_out(location: S3Location) -> None:
    Bucket.listed[:] = [*(f"outputs/team/a\u2028{number}" for number in range(5)), "outputs/team/run/0.json"]

    [found] = await open_s3_store(location).page("outputs/team", limit=2)

    assert found.key == "outputs/team/run/0.json"


async def test_a_key_that_cannot_be_listed_is_described(location: S3Location) -> None:
    Bucket.listed[:] = ["inputs/team/a.json", "inputs/team//b.json"]

    with pytest.raises(StoreUnavailableError, match="it has an object whose key has an empty segment"):
        await open_s3_store(location).page("inputs/team")


async def test_listing_and_deletion_end_in_time(location: S3Location) -> None:
    store = open_s3_store(location, timeout_seconds=0.2)
    with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.2 s"):
        await store.page("slow")
    with pytest.raises(StoreUnavailableError, match=r"did not answer within 0\.2 s"):
        await store.delete(["slow"])


async def test_unsafe_keys_are_neither_listed_nor_deleted(location: S3Location) -> None:
    before, store = len(Bucket.requests), open_s3_store(location)
    with pytest.raises(PayloadError):
        await store.page("outputs/../x")
    with pytest.raises(PayloadError):
        await store.delete(["fine", "outputs/../x"])
    await store.delete([])

    assert len(Bucket.requests) == before


async def test_many_objects_are_deleted_under_their_very_keys(location: S3Location) -> None:
    Bucket.deleted.clear()
    wanted = ["outputs/ns/sr/a%2Eb é.json", *(f"outputs/ns/sr/n-{number}" for number in range(250))]

    await open_s3_store(location).delete(wanted)

    assert sorted(Bucket.deleted) == sorted(f"/bucket/{key}" for key in wanted)


async def test_an_object_that_is_gone_does_not_keep_the_others(location: S3Location) -> None:
    Bucket.deleted.clear()

    await open_s3_store(location).delete(["none"])
    await open_s3_store(location).delete(["a", "none", "b"])

    assert set(Bucket.deleted) == {"/bucket/a", "/bucket/b"}


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        ("403", "it answered 403 SomeCode; check the credentials, and that they allow to delete objects"),
        ("507", "it answered 507 SomeCode"),
        ("no-bucket", "the bucket does not exist"),
    ],
)
async def test_a_deletion_that_is_refused_says_why(location: S3Location, key: str, cause: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        await open_s3_store(location, timeout_seconds=10).delete(["fine", key])

    assert f"bucket 'bucket' at {location.endpoint} cannot be changed: {cause}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_an_object_is_downloaded_up_to_its_limit(location: S3Location, tmp_path: Path) -> None:
    store = open_s3_store(location, timeout_seconds=10)

    await store.download("fits", tmp_path / "file", LIMIT)
    assert (tmp_path / "file").read_bytes() == b"x" * 1000
    with pytest.raises(PayloadError, match="larger than 1,000 bytes"):
        await store.download("large", tmp_path / "file", LIMIT)
    with pytest.raises(PayloadError, match="does not exist"):
        await store.download("none", tmp_path / "file", LIMIT)


async def test_the_server_copies(location: S3Location) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be written"):
        await open_s3_store(location, timeout_seconds=10).copy("fits", "403")

    path, headers = Bucket.requests[-1]
    assert (path, headers["x-amz-copy-source"]) == ("/bucket/403", "bucket/fits")
