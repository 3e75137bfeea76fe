"""Places where a test can end the process as a kill would: TIFFIN_FAIL_AT=name:count.

The count-th time that `name` is reached the process is gone, with exit code 137 and no clean-up.
"""

from __future__ import annotations

import os

_name, _, _count = os.environ.get("TIFFIN_FAIL_AT", "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    if name != _name:
        return
    global _left  # noqa: PLW0603 - a count-down of this process
    _left -= 1
    if _left == 0:
        os._exit(137)
