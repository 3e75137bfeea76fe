#!/usr/bin/env python3
"""Write docs/daemon.md from the table of configuration keys.

script/make_daemon_page.py            writes the file
script/make_daemon_page.py --check    fails if the file is not what would be written
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tiffin.configuration.keys import ABSENT, GROUPED, OBEYED, RELOADED, SETTLED  # noqa: E402

TARGET = ROOT / "docs" / "daemon.md"

HEAD = """# The daemon

Made by `script/make_daemon_page.py` from the table in the code; a test fails when it is stale.

`tiffin daemon` takes dockerd's flags, and dockerd's keys in `/etc/tiffin/daemon.json` (or
`--config-file`). What is said in both places is refused, and so is a key that is unknown.
`--validate` says whether a start would be refused, and starts nothing.

SIGHUP reads the file anew. What is marked *reload* is taken over at once, and a `reload` event of
type `daemon` tells so; what else changed is named in the log and counts from the next start. A file
that is wrong changes nothing.

## Where it listens

| `-H` | |
|---|---|
| `unix:///path` | mode 0660, group `docker` or `--group` |
| `fd://`, `fd://NAME` | sockets that systemd opened: all, or the one with this name or number |
| `tcp://ADDRESS:PORT` | with `--tlsverify`, for clients whose certificate `--tlscacert` signed |
| `tcp://127.0.0.1:PORT` | in clear text, only with `--tls=false`, and on loopback only |

In clear text a request must name loopback in its `Host` header, and on TCP an `Origin` must be the
host itself: no page in a browser reaches the API. Everybody who may connect owns the machine.

## As a service

`tiffin system install` writes `tiffin.service` and `tiffin.socket` to `/etc/systemd/system` (or
`--directory`) and says which files and what to do next; what follows `--` are options of the
daemon. systemd opens the socket, starts the daemon with the machine (where the service is
enabled: containers with a restart policy need that) or at the first request, and leaves
containers alone when it stops or restarts it. Their cgroups lie beside the service's own, so
neither its limits nor its end are theirs. When the machine goes down the daemon ends them, each
by its stop signal and stop time-out (60 seconds at most). `tiffin system uninstall` takes the two
files away. Neither starts or stops anything, and neither touches a file that somebody else wrote.

```sh
tiffin system install -- --log-level warn
```

## SELinux

With `selinux-enabled`, on a kernel that has it, containers are labelled as the policy says
(`lxc_contexts`, of the package container-selinux): all of one type, each with a pair of
categories of its own. `--security-opt label=` (`user:`, `role:`, `type:`, `level:`, `filetype:`,
`disable`) chooses otherwise, `:z` and `:Z` of a bind relabel what is bound, for all containers or
for this one, and volumes are for all. Layers get the policy's `ro_file`. Privileged containers
and those in the host's pid or ipc namespace have no label. Without SELinux, or without the key,
`label=` is refused by name, and `:z` means nothing. Steps of a build are not labelled.

## Keys

"""


def page() -> str:
    group = {inner: outer for outer, names in GROUPED.items() for inner in names}
    lines = ["| Key | Flag | | |", "|---|---|---|---|"]
    for key in sorted(OBEYED):
        name = f"{group[key.name]}: {key.name}" if key.name in group else key.name
        letter = f"`-{key.letter}`, " if key.letter else ""
        text = key.help.replace("|", " or ")
        reload = "reload" if key.name in RELOADED else ""
        lines.append(f"| `{name}` | {letter}`--{key.flag}` | {text} | {reload} |")
    lines += [
        "",
        "## What is always so",
        "",
        "dockerd can switch these. Another value than the one here is refused with the reason.",
        "",
        "| Key | Is | Because |",
        "|---|---|---|",
    ]
    for name, (_, right, why) in sorted(SETTLED.items()):
        shown = " or ".join(f"`{json.dumps(value)}`" for value in right) or "`[]`"
        lines.append(f"| `{name}` | {shown} | {why or 'of no consequence'} |")
    lines += ["", "## What is refused", "", "| Key | Because |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in sorted(ABSENT.items())]
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET} is stale: run script/make_daemon_page.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
