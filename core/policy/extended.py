"""Rules for extended resources, such as GPUs, and huge pages. Pure. Source: the Pod API of Kubernetes.

Kubernetes counts extended resources in whole numbers, and wants the request to be equal to the limit. Zero removes a
resource that an earlier layer asks for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.api.errors import FieldError
from core.api.quantity import parse_quantity

_LARGEST_COUNT: Final = 1_000_000
_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_HUGE_PAGES: Final = re.compile(r"hugepages-([1-9][0-9]{0,8}[KMG]i)")
_KUBERNETES: Final = "kubernetes.io"


def extended_problems(extended: Any, path: str) -> Iterator[FieldError]:
    """Problems of names and amounts; ``path`` is that of the map."""
    if not isinstance(extended, Mapping):
        yield FieldError(path, "must be an object", "write for example nvidia.com/gpu: 1")
        return
    for name, amount in extended.items():
        here = f"{path}[{json.dumps(str(name))}]"
        if pages := _HUGE_PAGES.fullmatch(str(name)):
            yield from _huge_page_problems(amount, here, pages[1])
        elif problem := _name_problem(str(name)):
            yield FieldError(here, *problem)
        else:
            yield from _count_problems(amount, here)


def _name_problem(name: str) -> tuple[str, str] | None:
    domain, slash, rest = name.partition("/")
    if not slash:
        return f"{name!r} must have a domain", "write for example nvidia.com/gpu; cpu and memory have their own fields"
    if not (len(domain) <= 253 and _DOMAIN.fullmatch(domain) and _NAME.fullmatch(rest)):
        return f"{name!r} is not the name of a resource", "write for example nvidia.com/gpu"
    if domain == _KUBERNETES or domain.endswith(f".{_KUBERNETES}") or name.startswith("requests."):
        return f"{name!r} is reserved for Kubernetes", "name a resource of a device plugin, such as nvidia.com/gpu"
    return None


def _count_problems(amount: Any, path: str) -> Iterator[FieldError]:
    text = str(amount)
    if isinstance(amount, bool) or not (text.isascii() and text.isdecimal() and int(text[:20]) <= _LARGEST_COUNT):
        message = f"{amount!r} must be a whole number from 0 to {_LARGEST_COUNT}"
        yield FieldError(path, message, "write for example 1; devices cannot be divided")


def _huge_page_problems(amount: Any, path: str, page: str) -> Iterator[FieldError]:
    try:
        size, total = parse_quantity(page).amount, parse_quantity(str(amount)).amount
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        yield FieldError(path, message, remedy)
        return
    if total < 0 or total % size:
        yield FieldError(path, f"{amount!r} must be a multiple of {page}", f"write for example {page}")
