"""The statement says which files come from which commit and which tools."""

from __future__ import annotations

from tools.release.provenance import LOCAL_BUILDER, BuildFacts, builder_of, statement, without_credentials

FACTS = BuildFacts(
    version="0.1.0",
    registry="registry.example/team",
    commit="c" * 40,
    repository="https://git.example/bobrapet.git",
    builder="https://ci.example/release",
    python="3.13.7",
    build_lock="hatchling==1.33.0 \\\n    --hash=sha256:aa\nuv==0.13.9 ; python_version > '3' \\\n",
)


def test_it_names_the_files_by_digest_and_the_sources_by_commit() -> None:
    said = statement({"b.whl": "22", "a.whl": "11"}, FACTS)

    assert (said["_type"], said["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert said["subject"] == [
        {"name": "a.whl", "digest": {"sha256": "11"}},
        {"name": "b.whl", "digest": {"sha256": "22"}},
    ]
    definition = said["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {
        "version": "0.1.0",
        "registry": "registry.example/team",
        "command": "make release",
    }
    assert definition["resolvedDependencies"] == [
        {"uri": "git+https://git.example/bobrapet.git", "digest": {"gitCommit": "c" * 40}},
        {"uri": "pkg:pypi/hatchling@1.33.0"},
        {"uri": "pkg:pypi/uv@0.13.9"},
    ]
    assert said["predicate"]["runDetails"] == {"builder": {"id": "https://ci.example/release"}}


def test_the_builder_is_named_by_the_environment_or_is_this_machine() -> None:
    assert builder_of({"BOBRAPET_BUILDER": "https://ci.example/7"}) == "https://ci.example/7"
    assert builder_of({}) == LOCAL_BUILDER


def test_credentials_in_the_address_of_the_repository_are_left_out() -> None:
    assert without_credentials("https://me:secret@git.example/b.git") == "https://git.example/b.git"
    assert without_credentials("git@git.example:b.git") == "git@git.example:b.git"
