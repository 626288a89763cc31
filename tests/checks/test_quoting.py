"""The commands that the doctor gives: what Hydra reads of them is the value they were made from."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.checks.repository import _hydra

PATHS = [
    "/videos/plain-1.0_a",
    "/b\u00fcro",
    "/bu\u0308ro",
    "/a b",
    "/a,b",
    "/a=b",
    "/it's",
    "/a(b)",
    "/a[b]",
    "/50%",
    "/a#b",
    '/a"b',
]
PATHS += [
    "/a{b}",
    "/\u65e5\u672c",
    "~/v",
    "/a&b",
    "/a;b",
    "/a:b",
    "C:\\v",
    "/a\\",
    "/a\\'b",
    "0012",
    "true",
    "null",
    "1e3",
    "inf",
    "",
    " a ",
    "/a$b",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_string_comes_back_from_hydra(path):
    override = OverridesParser.create().parse_override(f"data.folder={_hydra(path)}")
    value = override.value()
    assert type(value) is str and value == path


def test_plain_values_need_no_quotes():
    assert _hydra("/videos/plain-1.0_a") == "/videos/plain-1.0_a"
    assert _hydra(["/a,b", 1, None]) == "['/a,b', 1, null]"
    assert OverridesParser.create().parse_override(f"a={_hydra(['/a,b', 1, None])}").value() == ["/a,b", 1, None]
