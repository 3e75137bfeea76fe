"""When the machine itself goes down: containers get their own signal and their own time.

A daemon that stops leaves them alone, for the next one; but no next one will find these. Without us
the last that systemd does is SIGTERM to every process and SIGKILL to those that are there after 90
seconds: a program that ends by another signal was never asked, and one that ignores it keeps the
machine up. Nothing is recorded: what ran is found again after the boot as it is after every other,
and its restart policy is kept.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress

from tiffin.core.container import Container
from tiffin.core.signals import parse_signal
from tiffin.kernel import syscalls

log = logging.getLogger(__name__)

SYSTEMD = "/run/systemd/system"
DEFAULT_SECONDS = 10
MOST_SECONDS = 60  # systemd gives a service 90


def machine_goes_down() -> bool:
    """Whether systemd is at it. False where it does not run: nobody can be asked."""
    if not os.path.isdir(SYSTEMD):
        return False
    try:
        asked = subprocess.run(
            ["systemctl", "is-system-running"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("cannot ask systemd whether the machine goes down: %s", error)
        return False
    return asked.stdout.strip() == "stopping"


def end(containers: Iterable[Container]) -> None:
    """Ask each as a stop does, all at once; kill those that do not obey in time."""
    handles = {}
    for container in containers:
        handle = _open(container)
        if handle >= 0:
            handles[handle] = container
    try:
        _end(handles)
    finally:
        for handle in handles:
            os.close(handle)


def _open(container: Container) -> int:
    """A pidfd of its first process, that very one; -1 for one that has ended."""
    state = container.state
    try:
        handle = os.pidfd_open(state.pid)
    except (OSError, ValueError):
        return -1
    with suppress(OSError):
        if syscalls.start_ticks(state.pid) == state.start_ticks:
            return handle
    os.close(handle)
    return -1


def _end(handles: dict[int, Container]) -> None:
    began = time.monotonic()
    left = {handle: began + _patience(container) for handle, container in handles.items()}
    for handle, container in handles.items():
        _send(handle, parse_signal(container.config.stop_signal or "SIGTERM"))
    poller = select.poll()
    for handle in left:
        poller.register(handle, select.POLLIN)
    while left:
        rest = max(0.0, min(left.values()) - time.monotonic())
        for handle, _event in poller.poll(rest * 1000):
            poller.unregister(handle)
            left.pop(handle)
        for handle in [one for one, until in left.items() if until <= time.monotonic()]:
            log.warning("container=%s: not ended in time, killed", handles[handle].id)
            _send(handle, signal.SIGKILL)
            poller.unregister(handle)
            left.pop(handle)


def _patience(container: Container) -> float:
    given = container.config.stop_timeout
    seconds = DEFAULT_SECONDS if given is None else given
    return MOST_SECONDS if seconds < 0 else min(seconds, MOST_SECONDS)


def _send(handle: int, number: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, number)
