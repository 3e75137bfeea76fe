"""What a shim is asked to run: the config of a workload, the process of an exec."""

from __future__ import annotations

import base64
import errno
import shutil
from typing import Any

from tiffin.core.runtimes import Programs, is_own
from tiffin.core.workload import ExecProcess, Workload
from tiffin.kernel import cgroup, seccomp
from tiffin.kernel.ownthread import may_hang
from tiffin.runtime import capabilities, filters, host, programs, spec
from tiffin.runtime.facts import HostFacts
from tiffin.runtime.security import parse_security_options
from tiffin.runtime.wording import cannot_start

# Programs that do what --init asks for: pass signals on, bury orphans. Static ones only.
_INIT_PROGRAMS = ("docker-init", "tini-static", "catatonit")
_INIT_TARGET = "/sbin/docker-init"


async def config_of(
    workload: Workload, facts: HostFacts, others: Programs, layout: cgroup.Layout
) -> dict[str, Any]:
    """By the host as it is now. CannotStart for what that does not have."""
    asks_host = workload.mounts or workload.host_config.devices or workload.host_config.privileged
    if asks_host:
        observed = await may_hang(host.observe, workload)
    else:
        observed = host.observe(workload)
    config = spec.plan(workload, facts, observed)
    if config["tiffin"]["init"]:
        _add_init(config)
    if not is_own(workload.host_config.runtime):
        return programs.hire(config, workload.host_config.runtime, others, layout)
    profile = config["linux"].pop("seccomp", None)
    if profile is not None:
        # Some milliseconds for the first of its kind; the rest come from the cache.
        options = workload.host_config.security_opt
        brought = bool(parse_security_options(options, facts_of=facts).seccomp)
        key = config["tiffin"]["seccomp"]
        program = await filters.program_of(profile, key, brought=brought)
        config["tiffin"]["seccomp_flags"] = sum(
            seccomp.FLAGS.get(name, 0) for name in profile.get("flags") or ()
        )
        config["tiffin"]["seccomp_program"] = base64.b64encode(program).decode()
    return config


def _add_init(config: dict[str, Any]) -> None:
    """--init: the host's docker-init becomes the first process. CannotStart if there is none."""
    found = next(filter(None, map(shutil.which, _INIT_PROGRAMS)), None)
    if found is None:
        raise cannot_start(
            {
                "message": 'exec: "docker-init": executable file not found in $PATH',
                "operation": "exec docker-init",
                "errno": errno.ENOENT,
                "exit_code": 127,
            }
        )
    options = ["bind", "ro", "rprivate"]
    config["mounts"].append(
        {"destination": _INIT_TARGET, "type": "bind", "source": found, "options": options}
    )
    config["process"]["args"] = [_INIT_TARGET, "--", *config["process"]["args"]]


def exec_process(process: ExecProcess, facts: HostFacts) -> dict[str, Any]:
    planned: dict[str, Any] = {
        "args": list(process.argv),
        "env": spec.environment(process.env, "", tty=process.tty),
        "cwd": process.working_dir or "/",
        "terminal": process.tty,
        "user": {"uid": 0, "gid": 0},
    }
    planned["env"] = [word for word in planned["env"] if word != "HOSTNAME="]
    if process.console_size is not None:
        rows, columns = process.console_size
        planned["consoleSize"] = {"height": rows, "width": columns}
    if process.privileged:
        names = list(capabilities.choose((), (), facts.capabilities, privileged=True))
        kinds = ("bounding", "effective", "permitted")
        planned["capabilities"] = dict.fromkeys(kinds, names)
    return planned
