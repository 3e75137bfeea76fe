"""Pressure: for how long a cgroup's members waited for CPU, memory or I/O (PSI; v2 alone has it).

The kernel's two lines are "some", when at least one member waited, and "full", when all did: shares
of time in percent over 10, 60 and 300 seconds, and the whole time in microseconds.
"""

from __future__ import annotations

from tiffin.kernel.cgroupfiles import read as read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.kernel.cgroup import Cgroup

RESOURCES = ("cpu", "memory", "io")

Stall = dict[str, float]  # avg10, avg60, avg300 and total, an integer
Pressure = dict[str, Stall]  # some, full


def read_pressure(group: Cgroup) -> dict[str, Pressure]:
    """By resource, what there is: nothing on v1, and where the kernel does not keep it."""
    if group.layout.version != 2:
        return {}
    (directory,) = group.directories()
    read = {name: _read(f"{directory}/{name}.pressure") for name in RESOURCES}
    return {name: pressure for name, pressure in read.items() if pressure}


def _read(path: str) -> Pressure:
    try:
        return parse_pressure(read_file(path))
    except OSError:  # ENOENT: an older kernel; EOPNOTSUPP: psi=0, or cgroup.pressure is 0
        return {}


def parse_pressure(text: str) -> Pressure:
    """Lines as "some avg10=0.12 avg60=0.00 avg300=0.00 total=345". What is unknown is left out."""
    found: Pressure = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        stall: Stall = {}
        for pair in pairs:
            key, _, number = pair.partition("=")
            try:
                stall[key] = int(number) if key == "total" else float(number)
            except ValueError:
                continue
        if stall:
            found[kind] = stall
    return found
