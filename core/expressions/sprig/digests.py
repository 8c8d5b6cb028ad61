"""Digests of strings. Source: templating contract 10.6."""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

from core.expressions.template.functions import STRING, FunctionTable
from core.expressions.template.values import to_bytes

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("sha1sum", takes=(STRING,))
def _sha1(text: str) -> str:
    return hashlib.sha1(to_bytes(text), usedforsecurity=False).hexdigest()


@FUNCTIONS.add("sha256sum", takes=(STRING,))
def _sha256(text: str) -> str:
    return hashlib.sha256(to_bytes(text)).hexdigest()


@FUNCTIONS.add("sha512sum", takes=(STRING,))
def _sha512(text: str) -> str:
    return hashlib.sha512(to_bytes(text)).hexdigest()


@FUNCTIONS.add("adler32sum", takes=(STRING,))
def _adler32(text: str) -> str:
    return str(zlib.adler32(to_bytes(text)))
