"""What must be true before a release is built; all problems are named at once, each with its remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tools.release.changelog import ChangelogError, sections

OPERATOR: Final = "bobrapet"
IMAGE: Final = "bobrapet-py"


@dataclass(frozen=True)
class ReleaseFacts:
    """What the tree says about the release.

    Attributes:
        versions: of each distribution, by its name.
        needs: for each distribution, the requirements that name another one of ours, such as ``bubu-sdk>=0.1,<0.2``.
        image: the image of the shipped manifests, with its tag.
        chart: the version of the Helm chart.
        changelog: the text of CHANGELOG.md.
        changed_files: those that differ from the commit, or are not in it.
        commit: the full hash.
        tags: name → commit of the tags of the repository.
    """

    versions: Mapping[str, str]
    needs: Mapping[str, Sequence[str]]
    image: str
    chart: str
    changelog: str
    changed_files: Sequence[str]
    commit: str
    tags: Mapping[str, str]

    @property
    def version(self) -> str:
        """The version of the release: that of the operator."""
        return self.versions[OPERATOR]


def problems(facts: ReleaseFacts) -> list[str]:
    """Why these facts are not those of a release; empty if they are."""
    return [*_of_versions(facts), *_of_changelog(facts), *_of_tree(facts)]


def _of_versions(facts: ReleaseFacts) -> list[str]:
    version, found = facts.version, []
    for name, other in facts.versions.items():
        if other != version:
            found.append(
                f"pyproject.toml of {name}: version is {other}, and that of bobrapet is {version}; make them equal"
            )
    for name, needs in facts.needs.items():
        found += [
            f"pyproject.toml of {name}: {need} does not admit {version}; change its bounds"
            for need in needs
            if not admits(need, version)
        ]
    if facts.image != f"{IMAGE}:{version}":
        found.append(f"deployment/metadata.py: the image is {facts.image}; it must be {IMAGE}:{version}; make generate")
    if facts.chart != version:
        chart = "deployment/charts/bobrapet/Chart.yaml"
        found.append(f"{chart}: the version is {facts.chart}; it must be {version}; make generate")
    return found


def admits(requirement: str, version: str) -> bool:
    """Whether a requirement of the form ``NAME[EXTRA]>=LOW,<HIGH`` admits ``version``; the form that we use."""
    low, _, high = requirement.partition(">=")[2].partition(",<")
    return bool(low) and bool(high) and _numbers(low) <= _numbers(version) < _numbers(high)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _of_changelog(facts: ReleaseFacts) -> list[str]:
    try:
        newest = next(iter(sections(facts.changelog)), None)
    except ChangelogError as error:
        return [str(error)]
    if newest is None or newest.version != facts.version:
        found = "none" if newest is None else newest.version
        return [
            f"CHANGELOG.md: the newest version is {found}; it must be {facts.version}, the version of pyproject.toml"
        ]
    if newest.released is None:
        return [
            f"CHANGELOG.md: '## {facts.version}' must have the day of the release: '## {facts.version} - YYYY-MM-DD'"
        ]
    if not newest.text:
        return [f"CHANGELOG.md: the section of {facts.version} must say what changed"]
    return []


def _of_tree(facts: ReleaseFacts) -> list[str]:
    found = []
    if facts.changed_files:
        found.append(f"the tree must be clean; commit or remove: {', '.join(facts.changed_files)}")
    tagged = facts.tags.get(f"v{facts.version}", facts.commit)
    if tagged != facts.commit:
        found.append(f"tag v{facts.version} is commit {tagged[:12]}; a released version stays: choose a higher version")
    return found
