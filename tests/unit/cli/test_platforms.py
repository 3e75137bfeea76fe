"""What `--platform` means is what Docker's CLI takes it for."""

from __future__ import annotations

import pytest

from tiffin.cli.failures import CommandFailed
from tiffin.cli.platforms import parse_platform, platform_json, platform_words
from tiffin.cli.version import architecture


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("LINUX/x86_64", "linux/amd64"),
        ("linux/x86-64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64/9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm"),
        ("linux/armhf", "linux/arm"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("arm64", "linux/arm64"),
        ("s390x", "linux/s390x"),
        ("linux", f"linux/{architecture()}"),
        ("any/thing", "any/thing"),
        ("windows(10.0.17763)/amd64", "windows/amd64"),
    ],
)
def test_a_platform_has_one_name(text: str, expected: str) -> None:
    assert platform_words(text) == expected


def test_the_version_of_a_system_is_kept_for_the_api() -> None:
    assert platform_json("windows(10.0)/amd64") == (
        '{"architecture":"amd64","os":"windows","os.version":"10.0"}'
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("foo", '"foo": unknown operating system or architecture: invalid argument'),
        ("linux*", '"linux*": wildcards not yet supported: invalid argument'),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier: invalid argument'),
        ("linux/", '"" is an invalid component of "linux/": platform specifier'),
        ("/amd64", '"" is an invalid OS component of "/amd64": OSAndVersion specifier'),
        ("linux/a b", '"a b" is an invalid component of "linux/a b"'),
        ("linux/amd64\n", '"amd64\\n" is an invalid component'),
    ],
)
def test_what_is_no_platform_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="invalid argument") as caught:
        parse_platform(text)

    assert problem in str(caught.value)
    with pytest.raises(CommandFailed, match=r"^Bad: "):
        platform_json(text, "Bad: ")
