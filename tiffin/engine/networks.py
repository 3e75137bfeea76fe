"""Networks by name: Docker's three predefined ones. User-defined networks are not there yet.

Their ids are derived from what is unique to a data root, so that a network keeps its id over
restarts without a row of its own.
"""

from __future__ import annotations

import hashlib

from tiffin.core.network import (
    BRIDGE,
    DEFAULT_MTU,
    HOST,
    NONE,
    PREDEFINED,
    Network,
    bridge_options,
)
from tiffin.errors import Forbidden, InvalidArgument, NotFound, Unsupported


class Networks:
    """The predefined networks of one data root.

    `subnet` and `gateway` are the default bridge's, `bridge` its link's name. `seed` is the data
    root's path or another name that only it has: ids come from it. `created_ns` is when the data
    root came to be.
    """

    def __init__(
        self,
        subnet: str,
        gateway: str,
        *,
        bridge: str = "",
        mtu: int = DEFAULT_MTU,
        seed: str = "",
        created_ns: int = 0,
    ) -> None:
        self.bridge = Network(
            *(_id(seed, BRIDGE), BRIDGE, "bridge"),
            subnet=subnet,
            gateway=gateway,
            created_ns=created_ns,
            options=bridge_options(bridge, mtu),
        )
        self.host = Network(_id(seed, HOST), HOST, "host", created_ns=created_ns)
        self.none = Network(_id(seed, NONE), NONE, "null", created_ns=created_ns)

    def list(self) -> tuple[Network, ...]:
        return (self.bridge, self.host, self.none)

    def get(self, reference: str) -> Network:
        """By id, then name, then prefix of an id. Raises NotFound; InvalidArgument if ambiguous."""
        known = self.list()
        for network in known:
            if reference in (network.id, network.name):
                return network
        matches = [network for network in known if reference and network.id.startswith(reference)]
        if len(matches) > 1:
            raise InvalidArgument(
                f"network {reference} is ambiguous "
                f"({len(matches)} matches found based on ID prefix)"
            )
        if not matches:
            raise NotFound(f"network {reference} not found")
        return matches[0]

    def create(self, name: str, driver: str = "") -> Network:
        """Raises Forbidden for a predefined name, else Unsupported."""
        if name in (*PREDEFINED, "default"):
            raise Forbidden(f"operation is not permitted on predefined {name} network")
        what = f" with driver {driver}" if driver else ""
        raise Unsupported(
            f"user-defined networks are not supported yet: cannot create network {name}{what}"
        )

    def remove(self, reference: str) -> None:
        """Raises NotFound, and Forbidden: all that there are is predefined."""
        name = self.get(reference).name
        raise Forbidden(f"{name} is a pre-defined network and cannot be removed")

    def prune(self) -> tuple[str, ...]:
        """The names of removed networks: predefined ones stay."""
        return ()


def _id(seed: str, name: str) -> str:
    return hashlib.sha256(f"tiffin network\0{seed}\0{name}".encode()).hexdigest()
