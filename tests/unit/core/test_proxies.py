from __future__ import annotations

import pytest

from tiffin.core.proxies import masked, of_environment


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:secret@proxy:3128", "http://xxxxx:xxxxx@proxy:3128"),
        ("https://user@proxy/path?x=1", "https://xxxxx:xxxxx@proxy/path?x=1"),
        ("user:secret@proxy", "xxxxx:xxxxx@proxy"),
        ("http://user:se@cr/et://@proxy", "http://xxxxx:xxxxx@proxy"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("proxy", "proxy"),
        ("", ""),
    ],
)
def test_credentials_of_a_proxy_are_not_shown(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_capitals_come_before_small_letters() -> None:
    assert of_environment({"HTTP_PROXY": "a", "http_proxy": "b"}, "HTTP_PROXY") == "a"
    assert of_environment({"HTTP_PROXY": "", "http_proxy": "b"}, "HTTP_PROXY") == "b"
    assert of_environment({}, "HTTP_PROXY") == ""
