"""Hears when another program changes the packet filter in a way that cuts off our containers.

`nft flush ruleset` (which restarting nftables.service does) takes our table away; dockerd, ufw or
firewalld started after us drop what is forwarded. The kernel announces each change; those that
concern us are told to the owner, once for a burst of them.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from tiffin.kernel.netlink import (
    NETFILTER_HEADER_BYTES,
    NETLINK_NETFILTER,
    NFNL_SUBSYS_NFTABLES,
    NFNLGRP_NFTABLES,
    Socket,
    attributes,
    string,
)
from tiffin.network import nftables as nft
from tiffin.network.foreign import chain_of

_SETTLE_SECONDS = 0.1


class Watch:
    def __init__(self, table: str, changed: Callable[[], None]) -> None:
        self._table = table
        self._changed = changed
        self._socket: Socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        if self._socket is None:
            self._socket = Socket(NETLINK_NETFILTER, groups=[NFNLGRP_NFTABLES])
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _readable(self) -> None:
        if self._socket is not None and self._is_told(self._socket) and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_SETTLE_SECONDS, self._settled)

    def _is_told(self, connection: Socket) -> bool:
        try:
            events = connection.events()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return True  # more than fits: anything may have happened
        return any(concerns(kind, body, self._table) for kind, body in events)

    def _settled(self) -> None:
        self._timer = None
        self._changed()


def concerns(kind: int, body: bytes, table: str) -> bool:
    """Our table went away, or another one got or changed a forward chain."""
    if kind >> 8 != NFNL_SUBSYS_NFTABLES:
        return False
    match kind & 0xFF:
        case nft.DELTABLE:
            return string(attributes(body[NETFILTER_HEADER_BYTES:]).get(1, b"")) == table
        case nft.NEWCHAIN:
            chain = chain_of(body)
            return chain.table != table and (chain.forwards or chain.name == "DOCKER-USER")
        case nft.DELRULE:
            # An emptied chain is one without our rules (ufw reload, firewall-cmd --reload).
            return string(attributes(body[NETFILTER_HEADER_BYTES:]).get(1, b"")) != table
    return False
