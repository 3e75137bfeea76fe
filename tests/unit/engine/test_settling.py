"""What the host cannot keep of a request is told, and not written down."""

from __future__ import annotations

from tiffin.core.update import Update
from tiffin.engine.settling import settle_update
from tiffin.runtime.facts import HostFacts


def test_of_an_update_only_what_the_host_can_keep_is_left() -> None:
    wanted = Update(blkio_weight=300, cpu_shares=512)
    facts = HostFacts(controllers=frozenset({"cpu"}))

    kept, warnings = settle_update(wanted, facts)

    assert kept == Update(cpu_shares=512)
    assert [text.rpartition(". ")[2] for text in warnings] == ["Weight discarded."]
