"""Splits and joins URLs, by the rules of Go's ``net/url``; nothing is ever loaded.

Source: templating contract 11, ``urlParse`` and ``urlJoin``.
"""

from __future__ import annotations

import ipaddress
import re
import string
from typing import Final

from core.expressions.template import values
from core.expressions.template.functions import MAP, STRING, FunctionTable
from core.expressions.template.values import Value, from_bytes, to_bytes

FUNCTIONS: Final = FunctionTable()

_UNRESERVED: Final = string.ascii_letters + string.digits + "-_.~"
_HOST: Final = frozenset((_UNRESERVED + "!$&'()*+,;=:[]<>\"").encode())
_PATH: Final = frozenset((_UNRESERVED + "$&+,/:;=@").encode())
_FRAGMENT: Final = frozenset((_UNRESERVED + "$&+,/:;=?@!()*").encode())
_USER: Final = frozenset((_UNRESERVED + "$&+,;=").encode())
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)?:")
_PORT: Final = re.compile(r"(?::[0-9]*)?")
_USER_INFO: Final = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*")
_ESCAPE: Final = re.compile(rb"%(?:[0-9A-Fa-f]{2})?")
_WEB_SCHEMES: Final = ("http", "https")
_ASCII: Final = 0x80


@FUNCTIONS.add("urlParse", takes=(STRING,), per_character=1)
def url_parse(text: str) -> dict[str, Value]:
    """The parts of a URL: scheme, host, hostname, path, query, opaque, fragment, userinfo."""
    body, _, fragment = text.partition("#")
    parts = dict.fromkeys(("scheme", "host", "hostname", "path", "query", "opaque", "userinfo"), "")
    if _CONTROL.search(body):
        raise ValueError("the URL holds a control character")
    if body == "*":
        parts["path"] = "*"
    else:
        _parse(body, parts)
    parts["hostname"] = _hostname(parts["host"])
    parts["fragment"] = _unescaped(fragment)
    return parts


@FUNCTIONS.add("urlJoin", takes=(MAP,))
def _url_join(parts: dict[str, Value]) -> str:
    known = {name: _part(parts, name) for name in ("scheme", "host", "path", "query", "opaque", "fragment", "userinfo")}
    user = _joined_user(known["userinfo"])
    text = f"{known['scheme']}:" if known["scheme"] else ""
    if known["opaque"]:
        text += known["opaque"]
    else:
        if known["host"] or user is not None or (known["scheme"] and known["path"]):
            text += "//"
        text += ("" if user is None else f"{user}@") + _escaped(known["host"], _HOST)
        path = "*" if known["path"] == "*" else _escaped(known["path"], _PATH)
        if path and not path.startswith("/") and known["host"]:
            text += "/"
        text += "./" if not text and ":" in path.partition("/")[0] else ""
        text += path
    query, fragment = known["query"], known["fragment"]
    return text + (f"?{query}" if query else "") + (f"#{_escaped(fragment, _FRAGMENT)}" if fragment else "")


def _parse(text: str, parts: dict[str, str]) -> None:
    scheme = _SCHEME.match(text)
    if scheme:
        if scheme[1] is None:
            raise ValueError("the URL has no scheme in front of its colon")
        parts["scheme"], text = scheme[1].lower(), text[scheme.end() :]
    rest, _, parts["query"] = text.partition("?")
    if not rest.startswith("/"):
        if parts["scheme"]:
            parts["opaque"] = rest
            return
        if ":" in rest.partition("/")[0]:
            raise ValueError("the first part of a path must not hold a colon")
    if rest.startswith("//") and (parts["scheme"] or not rest.startswith("///")):
        authority, slash, rest = rest[2:].partition("/")
        user, at, host = authority.rpartition("@")
        parts["host"] = _host(parts["scheme"], host)
        parts["userinfo"] = _user(user) if at else ""
        rest = slash + rest
    parts["path"] = _unescaped(rest)


def _user(text: str) -> str:
    if not _USER_INFO.fullmatch(text):
        raise ValueError("the user of the URL holds a character that must be escaped")
    name, colon, password = text.partition(":")
    return _escaped(_unescaped(name), _USER) + (colon and f":{_escaped(_unescaped(password), _USER)}")


def _host(scheme: str, host: str) -> str:
    bracket = host.rfind("[")
    if bracket > 0:
        raise ValueError("the address of the host is not valid")
    if bracket == 0:
        return _address(host)
    colon = host.find(":")
    if scheme not in _WEB_SCHEMES:
        colon = host.rfind(":")
    if colon >= 0 and not _PORT.fullmatch(host, colon):
        raise ValueError("the port of the host is not a number")
    return _unescaped_host(host)


def _address(host: str) -> str:
    end = host.rfind("]")
    if end < 0 or not _PORT.fullmatch(host, end + 1):
        raise ValueError("the address of the host is not closed, or its port is not a number")
    name, zone_mark, zone = host[1:end].partition("%25")
    address = _unescaped_host(name) + (f"%{_unescaped(zone)}" if zone_mark else "")
    try:
        ipaddress.IPv6Address(address)
    except ValueError as error:
        raise ValueError("the address of the host is not valid") from error
    return f"[{address}]{host[end + 1 :]}"


def _hostname(host: str) -> str:
    colon = host.rfind(":")
    if colon >= 0 and _PORT.fullmatch(host, colon):
        host = host[:colon]
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _joined_user(text: str) -> str | None:
    """The user part of a URL, escaped; ``None`` when there is none."""
    if not text:
        return None
    body, _, _ = f"proto://{text}@host".partition("#")
    if _CONTROL.search(body):
        raise ValueError("the user of the URL holds a control character")
    authority = body.partition("?")[0].removeprefix("proto://").partition("/")[0]
    user, at, host = authority.rpartition("@")
    _host("proto", host)
    return _user(user) if at else None


def _part(parts: dict[str, Value], name: str) -> str:
    value = parts.get(name, "")
    if isinstance(value, str):
        return value
    raise ValueError(f"{name} must be a string, not {values.type_name(value)}")


def _escaped(text: str, kept: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in to_bytes(text))


def _unescaped(text: str) -> str:
    return from_bytes(_ESCAPE.sub(lambda found: _byte(found[0]), to_bytes(text)))


def _unescaped_host(text: str) -> str:
    """In a host only bytes beyond ASCII may be escaped, and only some characters may be unescaped."""
    data = to_bytes(text)
    for escape in _ESCAPE.findall(data):
        if _byte(escape)[0] < _ASCII and escape != b"%25":
            raise ValueError("the host of the URL holds an escape that is not allowed there")
    if any(byte < _ASCII and byte not in _HOST for byte in _ESCAPE.sub(b"", data)):
        raise ValueError("the host of the URL holds a character that is not allowed there")
    return _unescaped(text)


def _byte(escape: bytes) -> bytes:
    if len(escape) == 1:
        raise ValueError("the URL has a % that does not start an escape")
    return bytes([int(escape[1:], 16)])
