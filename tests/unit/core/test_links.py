"""Links: how they are written, and what a container gets of one that it links."""

from __future__ import annotations

import pytest

from tiffin.core import links
from tiffin.core.container import Container, HostConfig
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument

DB = Container(
    id="1" * 64,
    name="db",
    created_ns=1,
    image_id="sha256:0",
    image_reference="postgres",
    platform="linux",
    config=ContainerConfig(
        hostname="dbhost",
        env=("PATH=/bin", "HOME=/", "USER=me", "unset"),
        exposed_ports={"5432/tcp": {}, "53/udp": {}, "5433/tcp": {}, "9000": {}},
    ),
    host_config=HostConfig(),
    snapshot="1",
)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("db", ("db", "db")),
        ("db:alias", ("db", "alias")),
        ("/db:/web/alias", ("db", "alias")),
    ],
)
def test_a_link_names_a_container_and_an_alias(text: str, parsed: tuple[str, str]) -> None:
    assert links.parse_link(text) == parsed


@pytest.mark.parametrize("text", ["", ":", "a:", ":a", "a:b:c", "a:b c", "a:b\n1.2.3.4 c", "/:x"])
def test_what_is_no_link_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        links.parse_link(text)


def test_a_linked_container_has_three_names_at_most() -> None:
    assert links.hosts_line(DB, "sql", "172.17.0.2") == "172.17.0.2\tsql dbhost db\n"
    assert links.hosts_line(DB, "db", "172.17.0.2") == "172.17.0.2\tdb dbhost\n"


def test_another_address_takes_the_place_of_the_old_one_alone() -> None:
    hosts = "127.0.0.1\tlocalhost\n1.1.1.1\tsql dbhost db\n1.1.1.1\tsqlite\n"
    assert links.with_address(hosts, "sql", "2.2.2.2") == (
        "127.0.0.1\tlocalhost\n2.2.2.2\tsql dbhost db\n1.1.1.1\tsqlite\n"
    )


def test_ports_name_and_environment_are_variables() -> None:
    assert links.environment(DB, "my-db", "1.2.3.4", "web") == [
        "MY_DB_PORT=tcp://1.2.3.4:5432",
        "MY_DB_PORT_5432_TCP=tcp://1.2.3.4:5432",
        "MY_DB_PORT_5432_TCP_ADDR=1.2.3.4",
        "MY_DB_PORT_5432_TCP_PORT=5432",
        "MY_DB_PORT_5432_TCP_PROTO=tcp",
        "MY_DB_PORT_5433_TCP=tcp://1.2.3.4:5433",
        "MY_DB_PORT_5433_TCP_ADDR=1.2.3.4",
        "MY_DB_PORT_5433_TCP_PORT=5433",
        "MY_DB_PORT_5433_TCP_PROTO=tcp",
        "MY_DB_PORT_9000_TCP=tcp://1.2.3.4:9000",
        "MY_DB_PORT_9000_TCP_ADDR=1.2.3.4",
        "MY_DB_PORT_9000_TCP_PORT=9000",
        "MY_DB_PORT_9000_TCP_PROTO=tcp",
        "MY_DB_PORT_53_UDP=udp://1.2.3.4:53",
        "MY_DB_PORT_53_UDP_ADDR=1.2.3.4",
        "MY_DB_PORT_53_UDP_PORT=53",
        "MY_DB_PORT_53_UDP_PROTO=udp",
        "MY_DB_PORT_5432_TCP_START=tcp://1.2.3.4:5432",
        "MY_DB_PORT_5432_TCP_PORT_START=5432",
        "MY_DB_PORT_5432_TCP_END=tcp://1.2.3.4:5433",
        "MY_DB_PORT_5432_TCP_PORT_END=5433",
        "MY_DB_NAME=/web/my-db",
        "MY_DB_ENV_USER=me",
    ]
