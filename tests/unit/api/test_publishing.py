"""Ports in the body of an update: read as leniently as the rest, refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from tiffin.api.publishing import read_publishing
from tiffin.core.container import PortBinding
from tiffin.core.publishing import Publishing, Removal
from tiffin.errors import InvalidArgument


def test_fields_match_whatever_their_case_and_null_is_nothing() -> None:
    found = read_publishing(
        {
            "publishadd": {"80/tcp": [{"HostPort": "8080"}], "81": None},
            "PublishRemove": [{"hostport": "9000", "ContainerPort": None}],
            "Memory": 5,
        }
    )
    assert found == Publishing({"80/tcp": (PortBinding("", "8080"),), "81": ()}, (Removal("9000"),))
    assert not read_publishing({"Memory": 5, "PublishAdd": None})


@pytest.mark.parametrize(
    "document",
    [
        {"PublishAdd": "80"},
        {"PublishAdd": {"80": [{"HostPort": 8080}]}},
        {"PublishRemove": {"HostPort": "80"}},
        {"PublishRemove": ["80"]},
    ],
)
def test_a_wrong_type_says_where(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid JSON: .*Publish(Add|Remove)"):
        read_publishing(document)
