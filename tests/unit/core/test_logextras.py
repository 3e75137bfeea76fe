"""What `logs --details` says of a container."""

from __future__ import annotations

import pytest

from tiffin.core.container import Container, HostConfig, LogConfig
from tiffin.core.image import ContainerConfig
from tiffin.core.logextras import attrs, check_extras, prefix
from tiffin.errors import InvalidArgument


def container(**options: str) -> Container:
    return Container(
        id="ab" * 32,
        name="web",
        created_ns=1,
        image_id="sha256:" + "cd" * 32,
        image_reference="busybox",
        platform="linux",
        config=ContainerConfig(labels={"tier": "a b", "other": "x"}, env=("A=1", "B=2=3")),
        host_config=HostConfig(log_config=LogConfig("json-file", options)),
        snapshot="1",
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b" "),
        ({"labels": "tier,missing"}, b"tier=a+b "),
        ({"env": "B,A", "labels": "tier"}, b"A=1,B=2%3D3,tier=a+b "),
        ({"tag": "{{.Name}}/{{ .ID }}"}, b"tag=web%2Fabababababab "),
    ],
)
def test_details_are_what_was_asked_for(options: dict[str, str], expected: bytes) -> None:
    check_extras(options)
    assert prefix(container(**options)) == expected


@pytest.mark.parametrize("tag", ["{{.Nope}}", "{{upper .Name}}", "{{"])
def test_a_tag_that_is_not_understood_is_refused(tag: str) -> None:
    with pytest.raises(InvalidArgument, match="log-tag"):
        check_extras({"tag": tag})


def test_a_json_file_says_them_as_go_writes_them() -> None:
    made = container(labels="tier", env="B", tag="<{{.Name}}>")
    assert attrs(made) == r'{"B":"2=3","tag":"\u003cweb\u003e","tier":"a b"}'
    assert attrs(container()) == ""
