"""One thread for what nobody waits for: deleting removed trees, making directories ahead."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

_log = logging.getLogger(__name__)

Job = Callable[[], object]


class Background:
    """Jobs run in order; one that fails is logged. The thread starts with the first job."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._worker: threading.Thread | None = None
        self._busy = False
        self._closing = False

    @property
    def closing(self) -> bool:
        """Long jobs look at this and end early."""
        return self._closing

    def do(self, job: Job) -> None:
        with self._changed:
            if self._closing:
                return
            self._jobs.append(job)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="storage", daemon=True)
                self._worker.start()
            self._changed.notify_all()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Until there is nothing left to do; False when it takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._jobs and not self._busy, timeout_seconds
            )

    def close(self) -> None:
        """End after the job at hand; the others are forgotten."""
        with self._changed:
            self._closing = True
            self._jobs.clear()
            self._changed.notify_all()
            worker = self._worker
        if worker is not None:
            worker.join()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001 - logged with its traceback
                _log.exception("background job failed")

    def _next(self) -> Job | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._jobs or self._closing)
            if self._closing:
                return None
            self._busy = True
            return self._jobs.popleft()
