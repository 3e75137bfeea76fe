"""Reading what is mounted."""

from __future__ import annotations

from tiffin.kernel.mountinfo import points_below

TEXT = """\
25 1 8:1 / / rw - ext4 /dev/sda1 rw
26 25 0:5 / /run/own rw - tmpfs tmpfs rw
27 26 0:6 / /run/own/a\\040b rw - tmpfs tmpfs rw
28 27 0:7 / /run/own/a\\040b/c rw - tmpfs tmpfs rw
29 25 0:8 / /run/owner rw - tmpfs tmpfs rw
"""


def test_only_what_is_below_a_root_is_named_in_the_order_of_mounting() -> None:
    assert points_below(["/run/own/"], TEXT) == ["/run/own/a b", "/run/own/a b/c"]
    assert points_below(["/nowhere"], TEXT) == []
