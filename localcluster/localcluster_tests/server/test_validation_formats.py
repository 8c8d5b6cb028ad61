"""String formats, right and wrong examples of each."""

from __future__ import annotations

import pytest

from localcluster.server.validation_formats import FORMATS

EXAMPLES = {
    "byte": (["", "aGk="], ["*", "aGk"]),
    "cidr": (["10.0.0.0/8", "2001:db8::/32"], ["10.0.0.0", "x/8"]),
    "date": (["2024-02-29"], ["2023-02-29", "x"]),
    "date-time": (["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5+01:00"], ["2024-01-01", "2024-13-01T00:00:00Z", "x"]),
    "duration": (["1h30m", "5s", "-1.5h", "0", "3 days"], ["5 parsecs", "", "h"]),
    "email": (["a@b.example"], ["x", "@"]),
    "hexcolor": (["#fff", "ffffff"], ["#ggg"]),
    "hostname": (["a.example", "a"], ["-a", "a..b"]),
    "ipv4": (["1.2.3.4"], ["300.1.1.1", "::1"]),
    "ipv6": (["::1"], ["1.2.3.4"]),
    "k8s-long-name": (["a.b-c"], ["A", "a..b"]),
    "k8s-short-name": (["a-b"], ["a.b", "-a"]),
    "mac": (["01:02:03:04:05:06"], ["01:02"]),
    "rgbcolor": (["rgb(1, 2, 255)"], ["rgb(1,2)", "rgb(1,2,256)"]),
    "uri": (["https://a.example/x", "/path"], ["::", "x"]),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000"], ["x"]),
    "uuid4": (["123e4567-e89b-42d3-a456-426614174000"], ["123e4567-e89b-12d3-a456-426614174000"]),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_format_tells_right_from_wrong(name: str) -> None:
    right, wrong = EXAMPLES[name]
    check = FORMATS[name]
    assert [text for text in right if not check(text)] == []
    assert [text for text in wrong if check(text)] == []
