"""Being told when the kernel kills for want of memory: cgroup v1 by eventfd, v2 by inotify."""

from __future__ import annotations

import os

from tiffin.kernel import inotify


def open_event_v1(directory: str) -> int:
    """An eventfd that counts out-of-memory events of a memory cgroup. The caller closes it.

    It is readable once more when the cgroup is removed.
    """
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        watched = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            control = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(control, f"{event} {watched}".encode())
            finally:
                os.close(control)
        finally:
            os.close(watched)
    except BaseException:
        os.close(event)
        raise
    return event


def watch_v2(notifier: int, directory: str) -> int:
    """Have the inotify descriptor tell of changes of a cgroup's memory.events: the watch's number.

    It ends with the cgroup.
    """
    return inotify.watch(notifier, f"{directory}/memory.events", inotify.IN_MODIFY)
