"""The last descriptor of a mount namespace: what it is the end of takes milliseconds.

The kernel takes the mounts apart and waits until every processor has taken notice. Who closes it
hears nothing meanwhile; so a thread of its own does, in a shim whose container has ended: it clones
nobody any more.
"""

from __future__ import annotations

import _thread
import os

from tiffin.runtime.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def close_beside(loop: Loop, descriptor: int, done: Callable[[], None]) -> None:
    """Have `done` called by the loop once it is closed."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def close() -> None:
        os.close(descriptor)
        os.close(writing)

    def closed(_events: int) -> None:
        loop.remove(reading)
        os.close(reading)
        done()

    loop.add(reading, READ, closed)
    try:
        _thread.start_new_thread(close, ())
    except RuntimeError:  # there is none to be had
        close()
