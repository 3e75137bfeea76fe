"""AppArmor's default profile for containers: its text, and having the kernel know it.

What it denies is mostly denied by masks, read-only mounts and the user namespace already: it is the
second lock, and the only one for a container with the host's ids. Loading is apparmor_parser's.
"""

from __future__ import annotations

import os
import subprocess

DEFAULT = "tiffin-default"
ALIASES = frozenset({DEFAULT, "docker-default"})
ENABLED = "/sys/module/apparmor/parameters/enabled"
_LOADED = "/sys/kernel/security/apparmor/profiles"
_DIRECTORY = "/etc/apparmor.d"
_DEADLINE_SECONDS = 60


def profile_text(*, tunables: bool, abstractions: bool) -> str:
    """The profile's source; what the distribution has to include, is."""
    head = "#include <tunables/global>" if tunables else "@{PROC}=/proc/"
    base = "  #include <abstractions/base>\n" if abstractions else ""
    rules = "\n".join(f"  {rule}" for rule in _rules())
    flags = "flags=(attach_disconnected,mediate_deleted)"
    return f"{head}\n\nprofile {DEFAULT} {flags} {{\n{base}{rules}\n}}\n"


def _rules() -> list[str]:
    return [
        "network,",
        "capability,",
        "file,",
        "umount,",
        # The engine signals its containers, and they themselves.
        "signal (receive) peer=unconfined,",
        f"signal (send,receive) peer={DEFAULT},",
        f"ptrace (trace,read,tracedby,readby) peer={DEFAULT},",
        "deny mount,",
        # Of /proc only what belongs to processes; of /proc/sys the network's, and the few settings
        # of namespaces: names, semaphores, messages, shared memory, message queues.
        "deny @{PROC}/* w,",
        "deny @{PROC}/{[^1-9s],s[^ey]}*/** w,",
        "deny @{PROC}/sys/{[^fkn]*,[^fkn]*/**} w,",
        "deny @{PROC}/sys/fs/{[^m]*,m[^q]*,[^m]*/**} w,",
        "deny @{PROC}/sys/kernel/{?,??,[^dhms]*,d[^o]*,h[^o]*,ho[^s]*,m[^s]*,s[^eh]*,se[^m]*} w,",
        "deny @{PROC}/sys/kernel/*/** w,",
        "deny @{PROC}/sysrq-trigger rwklx,",
        "deny @{PROC}/kcore rwklx,",
        # Of /sys only cgroups.
        "deny /sys/[^f]*/** wklx,",
        "deny /sys/f[^s]*/** wklx,",
        "deny /sys/fs/[^c]*/** wklx,",
        "deny /sys/fs/c[^g]*/** wklx,",
        "deny /sys/firmware/** rwklx,",
        "deny /sys/devices/virtual/powercap/** rwklx,",
        "deny /sys/kernel/security/** rwklx,",
    ]


def enabled() -> bool:
    try:
        with open(ENABLED, encoding="ascii") as file:
            return file.read().startswith("Y")
    except OSError:
        return False


def ensure_default() -> str:
    """Have the kernel know the profile: why it does not, "" if it does. Idempotent."""
    try:
        if _is_loaded():
            return ""
        _load()
    except OSError as error:
        return f"{error.filename or 'apparmor_parser'}: {error.strerror}"
    except subprocess.CalledProcessError as error:
        return error.stderr.decode(errors="replace").strip() or str(error)
    except subprocess.TimeoutExpired as error:
        return str(error)
    return ""


def _is_loaded() -> bool:
    with open(_LOADED, encoding="utf-8") as file:
        return any(line.startswith(f"{DEFAULT} (") for line in file)


def _load() -> None:
    text = profile_text(
        tunables=os.path.exists(f"{_DIRECTORY}/tunables/global"),
        abstractions=os.path.exists(f"{_DIRECTORY}/abstractions/base"),
    )
    subprocess.run(
        ["apparmor_parser", "--replace", "--skip-cache"],
        input=text.encode(),
        check=True,
        capture_output=True,
        timeout=_DEADLINE_SECONDS,
    )
