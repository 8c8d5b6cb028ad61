"""The components of an installation, without the machine that listed them."""

from __future__ import annotations

from typing import Any

from tools.release.installation import licences, without_local_places

LOCAL, REMOTE = (
    {"type": "distribution", "url": "file:///home/me/a.whl"},
    {"type": "website", "url": "https://a.example"},
)


def test_paths_of_this_machine_are_left_out() -> None:
    bill: dict[str, Any] = {"components": [{"externalReferences": [LOCAL, REMOTE]}, {"externalReferences": [LOCAL]}]}

    assert without_local_places(bill) == {"components": [{"externalReferences": [REMOTE]}, {}]}


def test_licences_are_identifiers_where_there_are_some() -> None:
    components = [
        {"name": "zlib", "version": "1", "licenses": [{"expression": "MIT OR Zlib"}]},
        {"name": "Attrs", "version": "2", "licenses": [{"license": {"name": "text"}}, {"license": {"id": "MIT"}}]},
        {"name": "blinker", "version": "3", "licenses": [{"license": {"name": "as stated"}}]},
        {"name": "odd", "version": "4"},
    ]

    assert licences({"components": components}, "0.1.0").splitlines()[4:] == [
        "| attrs | 2 | MIT |",
        "| blinker | 3 | as stated |",
        "| odd | 4 | not stated |",
        "| zlib | 1 | MIT OR Zlib |",
    ]
