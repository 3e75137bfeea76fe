"""Any body of a create request is understood or refused in a user's words; nothing in between.

Up to the runtime's plan: what is pure of a creation and a start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bodies import create_bodies
from tiffin.api.container_json import config_json, host_config_json
from tiffin.api.create import read_create, read_update
from tiffin.api.versions import NEWEST, Version
from tiffin.core.container import HostConfig, IdRange
from tiffin.core.image import ContainerConfig
from tiffin.core.merge import merge
from tiffin.core.mounts import requested_mounts
from tiffin.core.ports import requested_ports
from tiffin.core.workload import Overlay, Workload
from tiffin.errors import TiffinError
from tiffin.runtime import spec

FACTS = spec.HostFacts(
    cgroup_version=1,
    controllers=frozenset({"memory", "cpu", "cpuset", "pids", "blkio"}),
    features=frozenset({"swappiness", "oom-kill-disable", "cpu-realtime", "blkio-read-bps"}),
    cpus=2,
    cpuset_cpus="0-1",
)
IMAGE = ContainerConfig(cmd=("sh",), env=("PATH=/bin",), volumes={"/data": {}})
# The same each time: what is found by chance belongs to who looks for it.
EXAMPLES = settings(max_examples=300, derandomize=True)


@pytest.mark.parametrize("version", ["1.50", "1.55"])
def test_any_create_request_is_obeyed_or_refused(version: str) -> None:
    @EXAMPLES
    @given(create_bodies(version), st.sampled_from([NEWEST, Version(1, 24), Version(1, 43)]))
    def judged(body: Any, spoken: Version) -> None:
        assert _status(lambda: _create_and_plan(body, spoken)) in (201, 400, 404, 501)

    judged()


def _status(act: Callable[[], None]) -> int:
    try:
        act()
    except TiffinError as error:
        return error.status if error.message else 500
    return 201


def _create_and_plan(body: Any, version: Version) -> None:
    request = read_create(body, version)
    config = merge(request.config, IMAGE)
    host = request.host_config
    spec.validate(config, host, FACTS)
    host, _warnings = spec.adapt(host, FACTS)
    wanted = requested_mounts(config, host)
    requested_ports(config, host)
    config_json(config)
    host_config_json(host)
    spec.plan(_workload(config, host, wanted), FACTS, _everything(host))


def _workload(config: ContainerConfig, host: HostConfig, wanted: Any) -> Workload:
    overlay = Overlay(("/lower",), "/upper", "/work")
    return Workload(
        id="0" * 64,
        config=config,
        host_config=host,
        rootfs=overlay,
        hostname="web",
        mounts=tuple(one.mount for one in wanted),
        images={one.mount.destination: overlay for one in wanted},
        id_range=IdRange(524288),
    )


def _everything(host: HostConfig) -> spec.Observed:
    """A host on which each device is there."""
    devices = (
        *host.blkio_weight_device,
        *host.blkio_device_read_bps,
        *host.blkio_device_write_bps,
        *host.blkio_device_read_iops,
        *host.blkio_device_write_iops,
    )
    return spec.Observed(numbers={device.path: (8, 0) for device in devices})


def test_any_update_is_obeyed_or_refused() -> None:
    @EXAMPLES
    @given(create_bodies("1.55"))
    def judged(body: Any) -> None:
        assert _status(lambda: read_update(body["HostConfig"]) and None) in (201, 400, 501)

    judged()
