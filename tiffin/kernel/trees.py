"""Directories of our own, taken away. What others may have laid in one is `rootpath`'s business."""

from __future__ import annotations

import os
import shutil


def remove(directory: str) -> None:
    """One that holds a few files as a rule. What cannot be removed stays; missing is fine."""
    try:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    except OSError:  # there is more in it
        shutil.rmtree(directory, ignore_errors=True)
