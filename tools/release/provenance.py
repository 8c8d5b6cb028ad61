"""How the files of a release came about: an in-toto statement with SLSA provenance, not signed yet.

Sources: https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance. It has no times: the same commit, built
again, gives the same statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:bobrapet:make-release:1"
"""``make release`` of the version in ``externalParameters``, at the commit in ``resolvedDependencies``."""
LOCAL_BUILDER: Final = "urn:bobrapet:builder:local"
_LOCKED: Final = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class BuildFacts:
    """What a release was built from, and by what.

    Attributes:
        version: of the release.
        registry: where install.yaml and the chart expect the image; empty: nowhere.
        commit: the full hash.
        repository: where the commit is found, without credentials; empty if unknown.
        builder: a URI of the machine or service that built it.
        python: the version of Python that ran the build, such as ``3.13.7``.
        build_lock: the text of ``requirements-build.lock``.
    """

    version: str
    registry: str
    commit: str
    repository: str
    builder: str
    python: str
    build_lock: str


def statement(digests: Mapping[str, str], facts: BuildFacts) -> dict[str, Any]:
    """The statement about files, given as name → SHA-256 in hexadecimal."""
    subjects = [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)]
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate(facts),
    }


def predicate(facts: BuildFacts) -> dict[str, Any]:
    """The part that does not name the files; a signing tool makes a statement of its own around it."""
    source = {"uri": f"git+{facts.repository or 'file:.'}", "digest": {"gitCommit": facts.commit}}
    tools = [{"uri": f"pkg:pypi/{name}@{version}"} for name, version in _locked(facts.build_lock)]
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"version": facts.version, "registry": facts.registry, "command": "make release"},
            "internalParameters": {"python": facts.python},
            "resolvedDependencies": [source, *tools],
        },
        "runDetails": {"builder": {"id": facts.builder}},
    }


def builder_of(environment: Mapping[str, str]) -> str:
    """The builder's URI: ``BOBRAPET_BUILDER``, or this machine, which nobody can check."""
    return environment.get("BOBRAPET_BUILDER", LOCAL_BUILDER)


def without_credentials(address: str) -> str:
    """The address of a repository as it may be published."""
    return re.sub(r"(?<=://)[^/@]*@", "", address)


def _locked(lock: str) -> Iterator[tuple[str, str]]:
    yield from _LOCKED.findall(lock)
