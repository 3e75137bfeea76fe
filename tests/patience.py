"""How long a test waits for what must happen: TIFFIN_TEST_PATIENCE times as long on a slow machine.

What must not happen is waited for as long everywhere.
"""

from __future__ import annotations

import os

_FACTOR = float(os.environ.get("TIFFIN_TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    return seconds * _FACTOR
