"""The settings of the S3 store. The store itself needs the extra and a bucket."""

from __future__ import annotations

import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from bubu_sdk import s3
from bubu_sdk.errors import ContextError
from bubu_sdk.storage import ObjectMissingError

BUCKET = {"BUBU_STORAGE_S3_BUCKET": "b"}


def test_an_auth_secret_is_used_with_a_custom_endpoint() -> None:
    environ = BUCKET | {
        "BUBU_STORAGE_S3_ENDPOINT": "minio:9000",
        "BUBU_S3_TLS": "false",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
    }

    config, client, retry = s3.s3_options(environ)

    assert config == {
        "bucket": "b",
        "region": "us-east-1",
        "virtual_hosted_style_request": False,
        "checksum_algorithm": "SHA256",
        "access_key_id": "id",
        "secret_access_key": "key",
        "endpoint": "http://minio:9000",
    }
    assert client == {"timeout": timedelta(minutes=5), "allow_http": True}
    assert retry == {"max_retries": 2, "backoff": {"max_backoff": timedelta(seconds=10)}}


def test_own_credentials_win_over_those_of_aws() -> None:
    environ = BUCKET | {
        "BUBU_S3_ACCESS_KEY_ID": "own",
        "BUBU_S3_SECRET_ACCESS_KEY": "own-key",
        "BUBU_S3_SESSION_TOKEN": "own-token",
        "AWS_ACCESS_KEY_ID": "id",
    }

    config, _, _ = s3.s3_options(environ)

    assert (config["access_key_id"], config["session_token"]) == ("own", "own-token")


def test_encryption_is_asked_for_by_name() -> None:
    config, _, _ = s3.s3_options(BUCKET | {"BUBU_S3_SSE": "KMS", "BUBU_S3_SSE_KMS_KEY": "k"})

    assert (config["server_side_encryption"], config["sse_kms_key_id"]) == ("aws:kms", "k")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BUBU_S3_ACCESS_KEY_ID": "id"}, "must be set together"),
        ({"AWS_SECRET_ACCESS_KEY": "key"}, "must be set together"),
        ({"BUBU_STORAGE_S3_ENDPOINT": "http://m", "BUBU_S3_TLS": "true"}, "contradicts BUBU_S3_TLS"),
        ({"BUBU_S3_TLS": ""}, "BUBU_S3_TLS is ''; it must be true or false"),
        ({"BUBU_S3_SSE": "rot13"}, "BUBU_S3_SSE"),
        ({"BUBU_S3_MAX_RETRIES": "few"}, "BUBU_S3_MAX_RETRIES"),
        ({"BUBU_S3_TIMEOUT": "long"}, "BUBU_S3_TIMEOUT"),
    ],
)
def test_a_wrong_setting_names_its_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ContextError, match=message):
        s3.s3_options(BUCKET | environ)


class Bucket(BaseHTTPRequestHandler):
    """Gives the three kinds of answers of S3 that matter here."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    authorizations: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.authorizations.append(self.headers["Authorization"])
        self._answer(200, b"")

    def do_GET(self) -> None:
        content = self.objects.get(self.path)
        self._answer(404 if content is None else 200, content or b"<Error><Code>NoSuchKey</Code></Error>")

    def _answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("ETag", '"tag"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_bucket_behind_a_custom_endpoint_keeps_what_is_written_to_it() -> None:
    pytest.importorskip("obstore", reason="needs the extra bubu-sdk[storage]")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        store = s3.open_s3_store(
            BUCKET
            | {
                "BUBU_STORAGE_S3_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                "AWS_ACCESS_KEY_ID": "id",
                "AWS_SECRET_ACCESS_KEY": "key",
            }
        )
        store.write("outputs/ns/sr/output.json", b"{}", "application/json")

        assert store.read("outputs/ns/sr/output.json") == b"{}"
        assert Bucket.authorizations[0].startswith("AWS4-HMAC-SHA256 Credential=id/")
        with pytest.raises(ObjectMissingError):
            store.read("outputs/ns/sr/none.json")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
