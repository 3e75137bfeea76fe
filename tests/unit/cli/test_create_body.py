"""Parts of the create body: ports, volumes, networks, files of variables."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli.create_body import parse_binds
from tiffin.cli.devicewords import parse_device
from tiffin.cli.failures import WrongOption
from tiffin.cli.mounts import parse_mount, parse_network, split_fields
from tiffin.cli.pairfiles import read_pairs
from tiffin.cli.portwords import parse_ports
from tiffin.cli.surroundings import absolute


@pytest.mark.parametrize(
    ("text", "port", "address", "host_port"),
    [
        ("80", "80/tcp", "", ""),
        ("8080:80", "80/tcp", "", "8080"),
        ("127.0.0.1::80/udp", "80/udp", "127.0.0.1", ""),
        ("[::1]:53:53/TCP", "53/tcp", "::1", "53"),
        ("8000-8010:80", "80/tcp", "", "8000-8010"),
        ("published=1,target=2,protocol=sctp", "2/sctp", "", "1"),
    ],
)
def test_a_published_port(text: str, port: str, address: str, host_port: str) -> None:
    exposed, bindings = parse_ports([text])

    assert exposed == {port: {}}
    assert bindings == {port: [{"HostIp": address, "HostPort": host_port}]}


def test_ranges_are_published_one_to_one() -> None:
    _, bindings = parse_ports(["8080-8081:90-91"])

    assert {port: found[0]["HostPort"] for port, found in bindings.items()} == {
        "90/tcp": "8080",
        "91/tcp": "8081",
    }


@given(st.text(alphabet="0123456789:-/[].tcpudx=,", max_size=20))
def test_any_port_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(WrongOption):
        parse_ports([text])


def test_only_volumes_with_a_source_are_binds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert parse_binds(["/a:/b:ro", "/anonymous", "data:/c", "./x/../y:/d"]) == [
        "/a:/b:ro",
        "data:/c",
        f"{tmp_path}/y:/d",
    ]


def test_a_path_becomes_absolute_by_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert (absolute("a/./b"), absolute("/x/../../y"), absolute(".")) == (
        f"{tmp_path}/a/b",
        "/y",
        str(tmp_path),
    )


def test_a_device_may_have_a_mode_and_another_name() -> None:
    assert parse_device("/dev/a:/dev/b:r")["PathInContainer"] == "/dev/b"
    assert parse_device("/dev/a:rw")["CgroupPermissions"] == "rw"
    with pytest.raises(WrongOption, match="bad mode specified: q"):
        parse_device("/dev/a:/dev/b:q")


def test_a_file_of_variables_has_comments_and_names_alone(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbf# comment\n\nA=b=c\n  B= d \nFOUND\nMISSING\n")

    found = read_pairs([str(file)], ["C=1"], {"FOUND": "here"}.get)

    assert found == ["A=b=c", "B= d ", "FOUND=here", "C=1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"=x\n", "no variable name on line '=x'"),
        (b"a b=x\n", "variable 'a b' contains whitespaces"),
        (b"\xff\n", "invalid utf8 bytes at line 1: [255]"),
    ],
)
def test_a_wrong_file_of_variables_is_named(tmp_path: Path, text: bytes, problem: str) -> None:
    file = tmp_path / "env"
    file.write_bytes(text)

    with pytest.raises(WrongOption) as caught:
        read_pairs([str(file)], [], None)

    assert str(caught.value) == f"invalid env file ({file}): {problem}"


def test_fields_in_quotes_keep_their_commas() -> None:
    assert split_fields('a=b,"c=d,e ""f""",g') == ["a=b", 'c=d,e "f"', "g"]


@given(st.text(alphabet='a=",b', max_size=15))
def test_any_list_of_fields_is_read_or_refused(text: str) -> None:
    for read in (split_fields, parse_mount, parse_network):
        with contextlib.suppress(ValueError):
            read(text)
