"""Why a request to a store in the cloud has failed, in words.

obstore's errors quote the answer of the server, which may contain anything, and the address, which may contain a
signature: only the status and the error code are taken from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MISSING_OBJECT: Final = ("NoSuchKey", "BlobNotFound", "")
"""Error codes of an answer 404 about the object; other codes are about the bucket."""

_REFUSED_KEY: Final = (
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
    *("InvalidAuthenticationInfo", "AuthenticationFailed"),
)
"""Codes that some servers give with another status than 401 and 403."""
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound")
_SIGNING_IN: Final = "Error performing token request"

_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})|\(code: (\d{3})\)\s*\Z")
"""The second form is that of one of several deletions."""
_CODE: Final = re.compile(r"<Code>\s*(\w{1,64})\s*</Code>", re.ASCII)
_CAUSES: Final = (
    ("kind: Timeout", "no answer in time"),
    ("ConnectionRefused", "the connection is refused"),
    ("dns error", "the host name is unknown"),
    ("InvalidCertificate", "the certificate of the server is not trusted"),
    ("kind: Connect", "no connection can be made"),
    ("empty path segment", "it has an object whose key has an empty segment ('//'); delete that object"),
)
"""A part of obstore's text → the cause."""


@dataclass(frozen=True, slots=True)
class CloudProvider:
    """What differs between the providers.

    Attributes:
        service: in "… has no such keys".
        vendor: whose credentials are necessary.
        place: what has the objects.
        metadata_path: in an error from the metadata service of a machine, which obstore asks last of all.
        copies_later: the answer to a copy may come before the copy is complete.
    """

    service: str
    vendor: str
    place: str
    metadata_path: str
    copies_later: bool = False


def cause_of(error: Exception, provider: CloudProvider, needed: str) -> str:
    """``needed``: what the credentials must allow, with ``{place}``."""
    whole = str(error)
    text = whole.partition("\n\nDebug source")[0]
    if provider.metadata_path in whole:
        return f"the operator has no {provider.vendor} credentials; name a Secret that holds some"
    status = _STATUS.search(text)
    if _SIGNING_IN in text:
        answered = f"{provider.vendor} answered {status[1]}" if status else _other_cause(whole, "it cannot be reached")
        reach = f"check them, and that the operator can reach {provider.vendor}"
        return f"there is no token for its credentials ({answered}); {reach}"
    if status:
        code = code_of(error)
        if code in _NO_BUCKET:
            return f"the {provider.place} does not exist"
        number = status[1] or status[2]
        answered = f"it answered {number}{f' {code}' if code else ''}"
        if number in ("401", "403") or code in _REFUSED_KEY:
            return f"{answered}; check the credentials, and that they allow to {needed.format(place=provider.place)}"
        return answered
    return _other_cause(whole, "its answer cannot be parsed")


def code_of(error: Exception) -> str:
    """The error code in the answer of the server; empty if it has none."""
    code = _CODE.search(str(error))
    return code[1] if code else ""


def _other_cause(text: str, otherwise: str) -> str:
    return next((cause for sign, cause in _CAUSES if sign in text), otherwise)
