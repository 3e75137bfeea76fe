"""Trees on their way out: renamed here at once, deleted in the background."""

from __future__ import annotations

import itertools
import logging
import os

from tiffin.kernel import rootpath
from tiffin.storage.background import Background

_log = logging.getLogger(__name__)


class Trash:
    """One directory. What an earlier process has left in it is deleted too."""

    def __init__(self, path: str, background: Background):
        self._path = path
        self._background = background
        os.makedirs(path, mode=0o700, exist_ok=True)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        left = os.listdir(path)
        first = max((int(name) for name in left if name.isdigit()), default=0) + 1
        self._numbers = itertools.count(first)
        for name in left:
            self._background.do(lambda name=name: self._delete(name))  # type: ignore[misc]

    def throw(self, path: str) -> None:
        """Take the tree at `path` away: a rename, so on the same file system. Missing is fine."""
        name = str(next(self._numbers))
        try:
            os.rename(path, name, dst_dir_fd=self._fd)
        except FileNotFoundError:
            return
        self._background.do(lambda: self._delete(name))

    def close(self) -> None:
        """After the background's end."""
        os.close(self._fd)

    def _delete(self, name: str) -> None:
        try:
            rootpath.remove_tree(self._fd, name, stop=lambda: self._background.closing)
        except OSError as error:
            _log.warning("delete tree=%s/%s error=%s", self._path, name, error)
