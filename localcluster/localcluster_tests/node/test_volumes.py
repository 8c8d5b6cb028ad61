from pathlib import Path
from typing import Any

import pytest

from localcluster.node.atomicdir import write_files
from localcluster.node.launcher.order import Mount
from localcluster.node.mounts import container_mounts, link_mounts, volume_directory
from localcluster.node.podfields import HostFacts
from localcluster.node.sources import MissingSourceError, SourceName, Sources, names_in_volumes
from localcluster.node.volumes import File, TokenWish, VolumeError, token_wishes, unsupported_volumes, volume_files

HOST = HostFacts("local", "127.0.0.1", {})
SOURCES = Sources({SourceName("secrets", "s"): {"a": b"1", "b": b"2"}, SourceName("configmaps", "c"): {"k": b"v"}})
POD: dict[str, Any] = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": [{"name": "e"}]}}


def files(volume: dict[str, Any], tokens: dict[TokenWish, str] | None = None) -> dict[str, File] | None:
    return volume_files(POD, {"name": "v", **volume}, SOURCES, tokens or {}, HOST)


def test_a_secret_shows_every_key_with_its_mode() -> None:
    assert files({"secret": {"secretName": "s", "defaultMode": 0o400}}) == {
        "a": File(b"1", 0o400),
        "b": File(b"2", 0o400),
    }


def test_items_choose_keys_paths_and_modes() -> None:
    volume = {"configMap": {"name": "c", "items": [{"key": "k", "path": "sub/x", "mode": 0o600}]}}

    assert files(volume) == {"sub/x": File(b"v", 0o600)}


def test_a_missing_secret_is_an_error_unless_optional() -> None:
    with pytest.raises(MissingSourceError, match='secret "gone" not found'):
        files({"secret": {"secretName": "gone"}})
    assert files({"secret": {"secretName": "gone", "optional": True}}) == {}


def test_a_projected_volume_joins_its_sources() -> None:
    volume = {
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "audience": "x", "expirationSeconds": 600}},
                {"configMap": {"name": "c"}},
                {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]
        }
    }
    wish = TokenWish("x", 600)

    assert token_wishes([volume]) == {wish}
    assert files(volume, {wish: "jwt"}) == {
        "token": File(b"jwt", 0o644),
        "k": File(b"v", 0o644),
        "ns": File(b"n", 0o644),
    }
    assert list(names_in_volumes([volume])) == [SourceName("configmaps", "c")]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_a_path_may_not_leave_the_volume(path: str) -> None:
    with pytest.raises(VolumeError, match="stay inside"):
        files({"configMap": {"name": "c", "items": [{"key": "k", "path": path}]}})


def test_directories_have_no_files_of_their_own() -> None:
    assert files({"emptyDir": {}}) is None


def test_what_a_local_node_cannot_offer_is_named() -> None:
    pod = {"spec": {"volumes": [{"name": "x", "nfs": {}}, {"name": "y", "emptyDir": {}}]}}

    assert unsupported_volumes(pod) == ["spec.volumes[x]: nfs is not supported by a local node"]


def test_files_are_replaced_all_at_once_behind_one_link(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": File(b"old", 0o644), "gone": File(b"x", 0o644), "d/e": File(b"deep", 0o400)}, "1")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "d" / "e").stat().st_mode & 0o777 == 0o400

    write_files(tmp_path, {"a": File(b"new", 0o644)}, "2")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["..2", "..data", "a"]
    assert (tmp_path / "a").readlink() == Path("..data/a")


def test_mounts_lead_to_volumes_and_their_parts(tmp_path: Path) -> None:
    container = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/data", "readOnly": True},
            {"name": "v", "mountPath": "/part", "subPathExpr": "$(RUN)/x"},
        ]
    }

    mounts = container_mounts(container, {"v": tmp_path}, {"RUN": "r1"})

    assert mounts == (Mount(str(tmp_path), "/data", True), Mount(str(tmp_path / "r1" / "x"), "/part"))
    assert (tmp_path / "r1" / "x").is_dir()


def test_a_sub_path_may_not_leave_the_volume(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    container = {"volumeMounts": [{"name": "v", "mountPath": "/data", "subPath": "../other"}]}

    with pytest.raises(VolumeError, match="leaves the volume"):
        container_mounts(container, {"v": tmp_path / "v"}, {})


def test_without_namespaces_links_lead_to_the_volumes(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "f").write_text("x")

    link_mounts(tmp_path / "root", (Mount(str(tmp_path / "v"), "/var/data"),))

    assert (tmp_path / "root" / "var" / "data" / "f").read_text() == "x"


def test_a_claim_is_kept_beside_the_pods_and_a_host_path_is_itself(tmp_path: Path) -> None:
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}

    assert volume_directory(claim, tmp_path / "pod", tmp_path / "claims", "ns") == tmp_path / "claims" / "ns" / "c"
    assert volume_directory({"name": "h", "hostPath": {"path": str(tmp_path)}}, tmp_path, tmp_path, "ns") == tmp_path
    with pytest.raises(VolumeError, match="does not exist"):
        volume_directory({"name": "h", "hostPath": {"path": str(tmp_path / "no")}}, tmp_path, tmp_path, "ns")
