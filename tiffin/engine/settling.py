"""What creation writes down where the request left it open, or named what may be renamed.

The record then says what is in force, as Docker's does: limits that the host cannot keep are out of
it, and a container whose namespaces are joined is named by its id.
"""

from __future__ import annotations

import msgspec

from tiffin.core.container import HostConfig
from tiffin.core.update import Update
from tiffin.engine.catalog import Catalog
from tiffin.errors import InvalidArgument, NotFound
from tiffin.runtime import spec

_JOINS = ("network_mode", "pid_mode", "ipc_mode")
_PREFIX = "container:"
_MOST = 2**63 - 1  # bytes: more is no number for clients


def settle(
    host: HostConfig, facts: spec.HostFacts, catalog: Catalog
) -> tuple[HostConfig, list[str]]:
    """The host config to keep and what its user is told. Raises InvalidArgument."""
    settled, warnings = spec.adapt(host, facts)
    if settled.memory > 0 and settled.memory_swap == 0:
        swap = min(settled.memory * 2, _MOST)
        settled = msgspec.structs.replace(settled, memory_swap=swap)
    if settled.oom_kill_disable is None and "oom-kill-disable" in facts.features:
        settled = msgspec.structs.replace(settled, oom_kill_disable=False)
    joins = {field: _by_id(field, getattr(settled, field), catalog) for field in _JOINS}
    return msgspec.structs.replace(settled, **joins), warnings


def settle_update(wanted: Update, facts: spec.HostFacts) -> tuple[Update, list[str]]:
    """What of an update the host can keep, and what its user is told."""
    kept, warnings = spec.adapt(wanted.alone(), facts)
    return Update.of(kept), warnings


def _by_id(field: str, mode: str, catalog: Catalog) -> str:
    """`container:<name>` with the id: names can be given anew."""
    if not mode.startswith(_PREFIX):
        return mode
    try:
        return _PREFIX + catalog.get(mode.removeprefix(_PREFIX)).id
    except (NotFound, InvalidArgument) as error:
        if field == "network_mode":
            return mode  # as Docker: whether it is there, the start says
        raise InvalidArgument(error.message) from error
