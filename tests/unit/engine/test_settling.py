"""What the host cannot keep of a request is told, and not written down."""

from __future__ import annotations

from typing import cast

from tiffin.core.container import HostConfig
from tiffin.core.update import Update
from tiffin.engine.catalog import Catalog
from tiffin.engine.settling import settle, settle_update
from tiffin.runtime.facts import HostFacts


def test_of_an_update_only_what_the_host_can_keep_is_left() -> None:
    wanted = Update(blkio_weight=300, cpu_shares=512)
    facts = HostFacts(controllers=frozenset({"cpu"}))

    kept, warnings = settle_update(wanted, facts)

    assert kept == Update(cpu_shares=512)
    assert [text.rpartition(". ")[2] for text in warnings] == ["Weight discarded."]


def test_the_swap_that_goes_with_a_memory_limit_is_a_number_for_clients() -> None:
    facts = HostFacts(controllers=frozenset({"memory"}), features=frozenset({"swap-limit"}))
    nobody = cast(Catalog, None)

    swaps = [
        settle(HostConfig(memory=memory), facts, nobody)[0].memory_swap
        for memory in (64 << 20, 2**62)
    ]

    assert swaps == [128 << 20, 2**63 - 1]
