"""A double of Google Cloud Storage: the calls of its XML API that obstore makes, over TLS, with objects in memory.

It was written from Google's reference of that API, for these tests; it is neither Google's service nor an emulator by
others. Like the service, it checks the signature and the claims of each token, and refuses parts of an upload that are
too small. Calls that it does not know get 501.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import unquote
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from core.engine.clock import system_now
from tests.e2e.object_store.authority import Authority
from tests.e2e.object_store.https import WholeAnswer, WholeRequest, serve_https

GOOGLE_BUCKET: Final = "payloads"
EMAIL: Final = "operator@project.iam.gserviceaccount.com"
_KEY_ID: Final = "key-1"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_LEAST_PART_BYTES: Final = 5 * 1024 * 1024
"""Of all parts but the last."""


@dataclass(frozen=True, slots=True)
class GoogleObject:
    content: bytes
    content_type: str
    modified_at: datetime
    parts: int = 1


@dataclass
class GoogleDouble:
    """``page_objects``: most objects of one answer to a listing."""

    authority: Authority
    private_key: rsa.RSAPrivateKey
    port: int = 0
    page_objects: int = 3
    objects: dict[str, GoogleObject] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Parts of uploads that are not complete, by the id of the upload."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def account_key(self) -> str:
        """The JSON key of a service account that may do everything."""
        return account_key(self.private_key)

    async def answer(self, request: WholeRequest) -> WholeAnswer:
        if not self._is_authentic(request.header("authorization")):
            return _error(401, "AuthenticationRequired")
        bucket, _, key = request.target.partition("?")[0].removeprefix("/").partition("/")
        if unquote(bucket) != GOOGLE_BUCKET:
            return _error(404, "NoSuchBucket")
        return self._of_object(request, unquote(key)) if key else self._listing(request)

    def _of_object(self, request: WholeRequest, key: str) -> WholeAnswer:
        query = request.query
        match request.method:
            case "POST" | "PUT" | "DELETE" if "uploads" in query or "uploadId" in query:
                return self._of_upload(request, key, query.get("uploadId", ""))
            case "PUT" if source := request.header("x-goog-copy-source"):
                _, _, copied = unquote(source).partition("/")
                if copied not in self.objects:
                    return _error(404, "NoSuchKey")
                self.objects[key] = self.objects[copied]
                return WholeAnswer(200, b"<CopyObjectResult/>")
            case "PUT":
                return self._stored(key, [request.body], request.header("content-type"))
            case _ if key not in self.objects:
                return _error(404, "NoSuchKey")
            case "GET" | "HEAD" if not request.header("range"):
                found = self.objects[key]
                headers = {**_described(found), "content-length": str(len(found.content))}
                return WholeAnswer(200, found.content if request.method == "GET" else b"", headers)
            case "DELETE":
                del self.objects[key]
                return WholeAnswer(204)
            case _:
                return _error(501, "NotImplemented")

    def _of_upload(self, request: WholeRequest, key: str, upload: str) -> WholeAnswer:
        if "uploads" in request.query:
            upload = f"upload-{len(self.uploads)}-{request.header('content-type')}"
            self.uploads[upload] = {}
            named = f"<Bucket>{GOOGLE_BUCKET}</Bucket><Key>{escape(key)}</Key><UploadId>{escape(upload)}</UploadId>"
            text = f"<InitiateMultipartUploadResult>{named}</InitiateMultipartUploadResult>"
            return WholeAnswer(200, text.encode())
        parts = self.uploads.get(upload)
        if parts is None:
            return _error(404, "NoSuchUpload")
        if request.method == "PUT":
            parts[int(request.query["partNumber"])] = request.body
            return WholeAnswer(200, headers={"etag": _tag(request.body)})
        del self.uploads[upload]
        if request.method == "DELETE":
            return WholeAnswer(204)
        ordered = [parts[number] for number in sorted(parts)]
        if any(len(part) < _LEAST_PART_BYTES for part in ordered[:-1]):
            return _error(400, "EntityTooSmall")
        return self._stored(key, ordered, upload.split("-", 2)[2])

    def _stored(self, key: str, parts: list[bytes], content_type: str) -> WholeAnswer:
        content = b"".join(parts)
        self.objects[key] = GoogleObject(content, content_type, system_now(), len(parts))
        text = f"<CompleteMultipartUploadResult><ETag>{_tag(content)}</ETag></CompleteMultipartUploadResult>"
        return WholeAnswer(200, text.encode() if len(parts) > 1 else b"", _described(self.objects[key]))

    def _listing(self, request: WholeRequest) -> WholeAnswer:
        query = request.query
        if request.method != "GET" or query.get("list-type") != "2" or "delimiter" in query:
            return _error(501, "NotImplemented")
        after = query.get("continuation-token") or query.get("start-after", "")
        prefix = query.get("prefix", "")
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        shown = keys[: min(self.page_objects, int(query.get("max-keys", 1000)))]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key].content)}</Size>"
            f"<LastModified>{self.objects[key].modified_at.isoformat().replace('+00:00', 'Z')}</LastModified>"
            f"<ETag>{_tag(self.objects[key].content)}</ETag></Contents>"
            for key in shown
        )
        more = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if len(shown) < len(keys) else ""
        return WholeAnswer(200, f"<ListBucketResult>{entries}{more}</ListBucketResult>".encode())

    def _is_authentic(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        signed, _, signature = token.rpartition(".")
        header, _, claims = signed.partition(".")
        try:
            self.private_key.public_key().verify(
                _decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
            head, said = json.loads(_decoded(header)), json.loads(_decoded(claims))
        except (InvalidSignature, ValueError):
            return False
        now = system_now().timestamp()
        return (
            scheme == "Bearer"
            and (head["alg"], head["kid"]) == ("RS256", _KEY_ID)
            and (said["iss"], said["sub"], said["scope"]) == (EMAIL, EMAIL, _SCOPE)
            and said["iat"] - 60 < now < said["exp"] <= said["iat"] + 3600
        )


def account_key(key: rsa.RSAPrivateKey) -> str:
    """As Google issues it."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account: dict[str, Any] = {"type": "service_account", "client_email": EMAIL, "private_key_id": _KEY_ID}
    return json.dumps({**account, "private_key": pem, "token_uri": "https://oauth2.googleapis.com/token"})


def new_private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@asynccontextmanager
async def open_google(authority: Authority, private_key: rsa.RSAPrivateKey) -> AsyncIterator[GoogleDouble]:
    """The double with an empty bucket, during the block."""
    double = GoogleDouble(authority, private_key)
    async with serve_https(authority, double.answer) as port:
        double.port = port
        yield double


def _described(found: GoogleObject) -> dict[str, str]:
    return {
        "content-type": found.content_type,
        "etag": _tag(found.content),
        "last-modified": format_datetime(found.modified_at, usegmt=True),
        "x-goog-generation": "1",
    }


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _error(status: int, code: str) -> WholeAnswer:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    return WholeAnswer(status, text.encode(), {"content-type": "application/xml"})
