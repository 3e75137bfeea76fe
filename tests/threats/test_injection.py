"""Names, addresses and words of requests that would be lines, paths or options somewhere else."""

from __future__ import annotations

import re

import pytest

from tiffin.core import lifecycle, network
from tiffin.core import mounts as requested
from tiffin.core.container import HostConfig
from tiffin.core.image import ContainerConfig, is_digest
from tiffin.core.reference import parse as parse_reference
from tiffin.errors import InvalidArgument
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.spec import cgroups_path, validate

EVIL = "6.6.6.6 bank.example"


@pytest.mark.threat("injected-lines")
@pytest.mark.parametrize(
    "entry",
    [
        f"db:10.0.0.1\n{EVIL}",
        f"db\n{EVIL}:10.0.0.1",
        f"db:fe80::1%\n{EVIL}",
        "db bank.example:10.0.0.1",
        "db:10.0.0.1 bank.example",
        "db:10.0.0.1#",
        ":10.0.0.1",
    ],
)
def test_an_extra_host_is_one_name_and_one_address(entry: str) -> None:
    """--add-host with a line break in it writes further lines of /etc/hosts.

    Defence: one printable word for the name, an address for the address, of which what follows a
    "%" is looked at too.
    Seen to fail: Python takes anything after the "%" for a zone: such an entry wrote two lines.
    """
    with pytest.raises(InvalidArgument):
        network.hosts_line(entry)
    assert network.hosts_line("db:fe80::1%eth0") == "fe80::1%eth0\tdb\n"


@pytest.mark.threat("injected-lines")
@pytest.mark.parametrize(
    ("dns", "search", "options"),
    [
        (["10.0.0.1\nnameserver 6.6.6.6"], [], []),
        (["fe80::1%\nnameserver 6.6.6.6"], [], []),
        ([], ["example\nnameserver 6.6.6.6"], []),
        ([], [], ["ndots:1\nnameserver 6.6.6.6"]),
    ],
)
def test_a_resolver_is_what_was_asked_for(
    dns: list[str], search: list[str], options: list[str]
) -> None:
    """--dns, --dns-search and --dns-option with a line break add a resolver.

    Defence: addresses and single words, without control characters.
    Seen to fail: with the zone of an address not looked at, the second of these added one.
    """
    with pytest.raises(InvalidArgument):
        network.resolv_conf("", dns, search, options)
    assert "nameserver 10.0.0.1\n" in network.resolv_conf("", ["10.0.0.1"], ["a"], ["ndots:1"])


@pytest.mark.threat("injected-lines")
@pytest.mark.parametrize("field", ["hostname", "domainname"])
@pytest.mark.parametrize("name", ["web\n6.6.6.6 bank", "web bank", "web\x1b[2J", "x" * 65])
def test_a_hostname_is_one_word(field: str, name: str) -> None:
    """The host's name goes into /etc/hosts and /etc/hostname.

    Defence: printable, no blank, at most 64 bytes.
    Seen to fail: a name by the rule passes.
    """
    config = ContainerConfig(cmd=("true",))
    with pytest.raises(InvalidArgument):
        validate(_with(config, field, name), HostConfig(), HostFacts())
    validate(_with(config, field, "web"), HostConfig(), HostFacts())


def _with(config: ContainerConfig, field: str, value: str) -> ContainerConfig:
    return ContainerConfig(cmd=config.cmd, **{field: value})  # type: ignore[arg-type]


NAMES = ["../x", "a/b", ".", "..", "a\n", "a b", "-v", "a\0", "é", "a\x1b[0m", ""]


@pytest.mark.threat("names-as-paths")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_path_and_no_option(name: str) -> None:
    """A name of a container or volume that is joined to a directory, or printed on a terminal.

    Defence: Docker's grammar, of the whole name.
    Seen to fail: with `match` and `$` a name that ends in a line break passed.
    """
    with pytest.raises(InvalidArgument):
        lifecycle.check_name(name)
    with pytest.raises(InvalidArgument):
        requested.check_volume_name(name)
    loose = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]+$")
    assert loose.match("ab\n")
    assert lifecycle.check_name("web-1") == requested.check_volume_name("web-1") == "web-1"


@pytest.mark.threat("names-as-paths")
@pytest.mark.parametrize(
    "name", ["../x", "a\n", "a:b\n", "a@sha256:" + "A" * 64, "-a", "a:..", "/a"]
)
def test_an_images_name_is_by_the_grammar(name: str) -> None:
    """A reference becomes a URL and a row.

    Defence: the grammar of references.
    Seen to fail: a name by the grammar passes.
    """
    with pytest.raises(InvalidArgument):
        parse_reference(name)
    assert parse_reference("a:b")
    assert not is_digest("sha256:" + "a" * 64 + "\n")


@pytest.mark.threat("names-as-paths")
@pytest.mark.parametrize("parent", ["../../etc", "/a/../../b", "a/./../..", "..", "/"])
def test_a_cgroup_parent_climbs_nowhere(parent: str) -> None:
    """--cgroup-parent ../../.. puts a container outside of what it is limited by.

    Defence: the path is made absolute and normal below the hierarchy's root.
    Seen to fail: joined as it is, the path has dots in it.
    """
    path = cgroups_path("c" * 64, HostConfig(cgroup_parent=parent), HostFacts())

    assert ".." not in path.split("/")
    assert path.startswith("/")
    assert path.endswith("c" * 64)
