"""SIGHUP: the configuration file read anew, and what of it a running daemon takes over.

The flags stay as they were. A file that is wrong now changes nothing; a key that only a new start
can obey is named in the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence

from tiffin.configuration.keys import RELOADED
from tiffin.configuration.options import Asked, DaemonOptions, parse_options
from tiffin.engine.settings import Settings
from tiffin.errors import TiffinError

log = logging.getLogger("tiffin")


class Reloading:
    """`apply` takes the new settings and the event's attributes, `set_level` the new log level."""

    def __init__(
        self,
        options: DaemonOptions,
        argv: Sequence[str],
        apply: Callable[[Settings, dict[str, str]], None],
        set_level: Callable[[str], None],
    ) -> None:
        self._options = options
        self._argv = argv
        self._apply = apply
        self._set_level = set_level

    @property
    def shutdown_seconds(self) -> int:
        return self._options.shutdown_seconds

    def reload(self) -> None:
        """Never raises: who sent the signal waits for no answer."""
        try:
            options = parse_options(self._argv)
        except TiffinError as error:
            log.warning("reload failed, nothing changed: %s", error.message)
            return
        assert not isinstance(options, Asked)
        waiting = _changed(self._options, options)
        if waiting:
            log.warning("these take effect at the next start only: %s", ", ".join(waiting))
        self._options = options
        self._set_level(options.log_level)
        self._apply(options.settings, attributes(options))
        log.info("reloaded %s", options.config_file or "the defaults")


def _changed(before: DaemonOptions, now: DaemonOptions) -> list[str]:
    keys = (before.values.keys() | now.values.keys()) - RELOADED
    return sorted(key for key in keys if before.values.get(key) != now.values.get(key))


def attributes(options: DaemonOptions) -> dict[str, str]:
    """What dockerd's `reload` event says of the settings in force."""
    settings = options.settings
    return {
        "debug": json.dumps(settings.debug),
        "default-cgroupns-mode": settings.defaults.cgroupns_mode,
        "default-ipc-mode": settings.defaults.ipc_mode,
        "default-runtime": settings.defaults.runtime or "tiffin",
        "default-shm-size": str(settings.defaults.shm_size or 64 * 1024 * 1024),
        "features": "map[]",
        "insecure-registries": json.dumps(settings.insecure_registries),
        "labels": json.dumps(settings.labels),
        "live-restore": "true",
        "max-concurrent-downloads": str(settings.downloads),
        "max-concurrent-uploads": str(settings.uploads),
        "max-download-attempts": str(settings.download_attempts),
        "registry-mirrors": json.dumps(settings.registry_mirrors),
        "runtimes": " ".join(f"{name}:{each.path}" for name, each in settings.runtimes.items()),
        "shutdown-timeout": str(options.shutdown_seconds),
    }
