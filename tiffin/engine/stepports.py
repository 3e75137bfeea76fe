"""What a build step's RUN needs of the rest of the engine: a network for as long as it runs."""

from __future__ import annotations

from typing import Protocol

from tiffin.core.container import HostConfig


class StepNetwork(Protocol):
    """One RUN's share of the network. `etc_files` maps /etc/hosts, /etc/resolv.conf and
    /etc/hostname to host paths."""

    hostname: str
    etc_files: dict[str, str]

    async def connect(self, pid: int) -> None:
        """Bring the link up in the network namespace of `pid`."""
        ...

    async def release(self) -> None:
        """Give address, link and files back. Idempotent."""
        ...


class StepNetworks(Protocol):
    async def prepare(self, step_id: str, host_config: HostConfig) -> StepNetwork:
        """By network_mode (default, bridge, none, host), extra_hosts and dns of `host_config`.

        Nothing stays reserved when this raises.
        """
        ...
