from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.console import Console
from cli.embedded import folder
from cli.embedded.folder import EmbeddedCluster
from cli.embedded.process import serving
from cli.options import CommonOptions
from cli.problem import CommandError, UsageError
from cli.session import Session
from cli.target import embedded_at, embedded_cluster, is_configured
from core.kube.config import ClusterConfig


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BOBRAPET_DATA", str(tmp_path / "data"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


def session(options: CommonOptions, embedded: EmbeddedCluster | None = None) -> Session:
    return Session(None, ClusterConfig("https://x", namespace="team"), options, Console(options), embedded)  # type: ignore[arg-type]  # sends nothing


def cluster(data: Path, *, on_demand: bool = False) -> EmbeddedCluster:
    return EmbeddedCluster(data, "https://x", data / "kubeconfig", 1, "", on_demand)


def test_the_namespace_is_that_of_the_flag_then_of_the_context() -> None:
    assert session(CommonOptions()).namespace == "team"
    assert session(CommonOptions(namespace="other")).list_namespace == "other"
    assert session(CommonOptions(all_namespaces=True)).list_namespace is None


def test_a_session_in_another_namespace_says_so_in_its_hints() -> None:
    own = session(CommonOptions())
    other = own.in_namespace("other")

    assert own.in_namespace("team") is own
    assert other.namespace == "other"
    assert other.command("get", "run") == "bobrapet get run --namespace other"


def test_a_hint_repeats_the_flags_that_say_where() -> None:
    options = CommonOptions(namespace="n", context="c", kubeconfig=Path("my file"))

    assert session(options).command("watch", "run") == (
        "bobrapet watch run --namespace n --context c --kubeconfig 'my file'"
    )


def test_a_hint_starts_a_cluster_that_ends_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session(CommonOptions(), cluster(tmp_path)).command("get", "r") == "bobrapet get r"
    assert session(CommonOptions(), cluster(tmp_path, on_demand=True)).command("get", "r") == (
        "bobrapet up && bobrapet get r"
    )
    monkeypatch.setenv("KUBECONFIG", "other")
    assert session(CommonOptions(), cluster(tmp_path)).command("get", "r") == "bobrapet get r --local"
    monkeypatch.setenv("KUBECONFIG", str(cluster(tmp_path).kubeconfig))
    assert session(CommonOptions(), cluster(tmp_path)).command("get", "r") == "bobrapet get r"


def test_a_hint_names_the_folder_by_its_variable_where_the_flag_means_something_else(tmp_path: Path) -> None:
    here = session(CommonOptions(data=tmp_path / "a b"), cluster(tmp_path / "a b"))

    assert here.command("get", "r") == f"bobrapet get r --data '{tmp_path}/a b' --local"
    for verb in ("approve", "reject"):
        assert here.command(verb, "r", "g") == f"BOBRAPET_DATA='{tmp_path}/a b' bobrapet {verb} r g --local"


def test_without_configuration_the_embedded_cluster_is_meant(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no kubeconfig is configured, and no embedded cluster serves"):
        embedded_cluster(CommonOptions())

    with serving(tmp_path / "data"):
        folder.publish(cluster(tmp_path / "data"))

        assert embedded_cluster(CommonOptions()) == cluster(tmp_path / "data")


def test_a_kubeconfig_may_be_that_of_an_embedded_cluster(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for data in (tmp_path / "data", elsewhere):
        with serving(data):
            folder.publish(cluster(data))

            assert embedded_at("https://x", data / "kubeconfig") == cluster(data)
            assert embedded_at("https://y", data / "kubeconfig") is None
    assert embedded_at("https://x", elsewhere / "kubeconfig") is None


def test_with_configuration_it_is_meant_only_when_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "somewhere")

    assert is_configured(os.environ)
    assert embedded_cluster(CommonOptions()) is None
    assert embedded_cluster(CommonOptions(kubeconfig=tmp_path)) is None
    with pytest.raises(CommandError, match=f"no embedded cluster serves {tmp_path}"):
        embedded_cluster(CommonOptions(data=tmp_path))
    with pytest.raises(UsageError, match="--local excludes"):
        embedded_cluster(CommonOptions(local=True, context="c"))
