"""Every text either parses to a reference that parses to itself, or is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core.reference import Reference, is_registry, parse
from tiffin.errors import InvalidArgument

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "normalised", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("me/app", "docker.io/me/app", "me/app"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/x", "localhost:5000/x", "localhost:5000/x"),
        ("127.0.0.1:5000/x/y:t", "127.0.0.1:5000/x/y:t", "127.0.0.1:5000/x/y:t"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("Upper/x", "Upper/x", "Upper/x"),
        ("ghcr.io/a/b_c/d__e/f--g", "ghcr.io/a/b_c/d__e/f--g", "ghcr.io/a/b_c/d__e/f--g"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"x:t@{DIGEST}", f"docker.io/library/x:t@{DIGEST}", f"x:t@{DIGEST}"),
    ],
)
def test_a_reference_has_a_full_and_a_familiar_form(
    text: str, normalised: str, familiar: str
) -> None:
    reference = parse(text)

    assert (str(reference), reference.familiar()) == (normalised, familiar)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid reference format"),
        ("x:", "invalid reference format"),
        (":x", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("../x", "invalid reference format"),
        ("x y", "invalid reference format"),
        ("x\n", "invalid reference format"),
        ("x-", "invalid reference format"),
        ("x:" + "t" * 129, "invalid reference format"),
        ("x@sha256:short", "invalid reference format"),
        ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
        ("a.b/Foo:X", "invalid reference format: repository name (Foo) must be lowercase"),
        ("x@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("x@sha256:" + "0" * 32, "invalid checksum digest length"),
        ("a/" * 127 + "bc", "repository name must not be more than 255 characters"),
        (
            "a" * 64,
            f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
        ),
    ],
)
def test_a_bad_reference_is_refused_in_the_words_of_docker(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse(text)

    assert refusal.value.message == words


def test_a_reference_without_tag_or_digest_means_latest() -> None:
    assert parse("x").tagged().familiar() == "x:latest"
    assert parse("x:1").tagged().tag == "1"
    assert parse(f"x@{DIGEST}").tagged().tag == ""


@given(st.text(max_size=80))
def test_any_text_parses_to_a_fixed_point_or_is_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidArgument:
        return

    assert parse(str(reference)) == reference
    assert parse(reference.familiar()) == reference


_component = st.from_regex(r"[a-z0-9]{1,6}([._-][a-z0-9]{1,6})?", fullmatch=True)
_references = st.builds(
    Reference,
    domain=st.sampled_from(["docker.io", "localhost:5000", "ghcr.io", "127.0.0.1", "[::1]:80"]),
    path=st.lists(_component, min_size=2, max_size=4).map("/".join),
    tag=st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][\w.-]{0,20}", fullmatch=True)).filter(
        str.isascii
    ),
    digest=st.sampled_from(["", DIGEST]),
)


@given(_references)
def test_the_familiar_form_names_the_same_image(reference: Reference) -> None:
    assert parse(reference.familiar()) == reference


@pytest.mark.parametrize("address", ["docker.io", "localhost:5000", "[::1]:443", "A-b.c", "0"])
def test_a_registry_is_a_host_and_a_port(address: str) -> None:
    assert is_registry(address)


@pytest.mark.parametrize("address", ["", ":", "a:b", "a:0", "a:70000", "é.org", "a b", "\0", "-a"])
def test_what_is_no_host_is_no_registry(address: str) -> None:
    assert not is_registry(address)
