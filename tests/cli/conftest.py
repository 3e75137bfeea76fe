"""What tests of command lines share."""

from __future__ import annotations

import pytest

from tests.cli.test_requests import TIFFIN
from tests.live import docker_cli_version


@pytest.fixture(params=["docker", "tiffin"])
def program(request: pytest.FixtureRequest) -> list[str]:
    """Each of the two: where ours does as the other, both are asked."""
    if request.param == "tiffin":
        return TIFFIN
    if docker_cli_version() < (28,):
        pytest.skip("an older docker command line has other words")
    return ["docker"]
