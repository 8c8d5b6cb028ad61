"""The rules of Kubernetes for names, and its messages about names that break them.

Each function returns the complaints about a string; an empty list means that it is valid. Source: apimachinery
``util/validation``.
"""

from __future__ import annotations

import re

LABEL_BYTES = 63
SUBDOMAIN_BYTES = 253

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PRINTABLE = re.compile(r"[ -<>-~]+")

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_CONFIG_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


def why_not_label(text: str) -> list[str]:
    """Complaints about a DNS label, for example the name of a container or namespace."""
    found = [f"must be no more than {LABEL_BYTES} bytes"] if len(text) > LABEL_BYTES else []
    if _LABEL.fullmatch(text):
        return found
    return [*found, "must not contain dots" if _SUBDOMAIN.fullmatch(text) else _LABEL_RULE]


def why_not_label_1035(text: str) -> list[str]:
    """Complaints about a DNS label that must begin with a letter, for example a plural."""
    found = [f"must be no more than {LABEL_BYTES} bytes"] if len(text) > LABEL_BYTES else []
    return found if _LABEL_1035.fullmatch(text) else [*found, _LABEL_1035_RULE]


def why_not_subdomain(text: str) -> list[str]:
    """Complaints about a DNS name, the form of most objects' names."""
    found = [f"must be no more than {SUBDOMAIN_BYTES} bytes"] if len(text) > SUBDOMAIN_BYTES else []
    return found if _SUBDOMAIN.fullmatch(text) else [*found, _SUBDOMAIN_RULE]


def why_not_config_key(text: str) -> list[str]:
    """Complaints about a key of a ConfigMap or Secret."""
    found = [f"must be no more than {SUBDOMAIN_BYTES} bytes"] if len(text) > SUBDOMAIN_BYTES else []
    if text in (".", ".."):
        return [*found, f"must not be '{text}'"]
    if text.startswith(".."):
        return [*found, "must not start with '..'"]
    return found if _CONFIG_KEY.fullmatch(text) else [*found, _CONFIG_KEY_RULE]


def why_not_variable(text: str) -> list[str]:
    """Complaints about the name of an environment variable."""
    if _PRINTABLE.fullmatch(text):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def why_not_port_name(text: str) -> list[str]:
    """Complaints about the name of a container's port."""
    found = ["must be no more than 15 characters"] if len(text) > 15 else []
    if not _PORT_NAME.fullmatch(text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    elif not re.search(r"[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    return found


def why_not_port(number: int) -> list[str]:
    """Complaints about a port number."""
    return [] if 1 <= number <= 65535 else ["must be between 1 and 65535, inclusive"]
