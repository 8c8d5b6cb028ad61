from __future__ import annotations

import pytest

from manager.bind import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8081", Address("0.0.0.0", 8081)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:8443", Address("::1", 8443)),
        ("0", None),
        ("", None),
    ],
)
def test_addresses_are_read_as_the_flags_write_them(text: str, address: Address | None) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["8081", "localhost", ":http", ":65536", "host:"])
def test_what_is_no_address_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        parse_address(text)


def test_an_address_is_written_as_it_is_read() -> None:
    assert [str(parse_address(text)) for text in ("[::1]:8443", "127.0.0.1:80")] == ["[::1]:8443", "127.0.0.1:80"]
