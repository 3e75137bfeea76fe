"""tiffin-runtime's command line: global flags, the table of commands, errors in words."""

from __future__ import annotations

import gc
import os

from tiffin import __version__
from tiffin.runtime import messages
from tiffin.runtime.failure import Failure
from tiffin.runtime.oci import state
from tiffin.runtime.oci.flags import Command, Flag, UsageError, Values, parse
from tiffin.runtime.oci.output import PROGRAM, Reporter, write
from tiffin.runtime.oci.shape import InvalidBundle
from tiffin.runtime.oci.state import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_ROOT = "/run/tiffin-runtime"
EXIT_FAILED = 1
EXIT_EXEC_FAILED = 255

_BUNDLE = Flag("--bundle -b", "text", "directory of the bundle (default: the current one)")
_CONSOLE = Flag("--console-socket", "text", "AF_UNIX socket that receives the terminal's master")
_PID_FILE = Flag("--pid-file", "text", "file to write the process's id to")
_PRESERVE = Flag("--preserve-fds", "number", "how many descriptors beside stdio to pass on")
_DETACH = Flag("--detach -d", "switch", "do not wait for the process")
_CREATE = [
    _BUNDLE,
    _CONSOLE,
    _PID_FILE,
    Flag("--no-pivot", "switch", "chroot instead of pivot_root (for a root on an initramfs)"),
    Flag("--no-new-keyring", "switch", "keep the caller's session keyring"),
    _PRESERVE,
]
_RUN = [
    *_CREATE,
    _DETACH,
    Flag("--keep", "switch", "do not delete the container after its end"),
    Flag("--no-subreaper", "switch", "accepted: orphans are never adopted"),
]
_EXEC = [
    _CONSOLE,
    Flag("--cwd", "text", "working directory"),
    Flag("--env -e", "list", "environment variable NAME=VALUE"),
    Flag("--tty -t", "switch", "with a terminal"),
    Flag("--user -u", "text", "uid[:gid]"),
    Flag("--additional-gids -g", "list", "supplementary group"),
    Flag("--process -p", "text", "file with the process as JSON"),
    _DETACH,
    _PID_FILE,
    Flag("--process-label", "text", "SELinux label"),
    Flag("--apparmor", "text", "AppArmor profile"),
    Flag("--no-new-privs", "switch", "with no_new_privs"),
    Flag("--cap -c", "list", "one capability more"),
    _PRESERVE,
    Flag("--cgroup", "text", "cgroup below the container's"),
    Flag("--ignore-paused", "switch", "also in a paused container"),
]
_UPDATE = [
    Flag("--resources -r", "text", "file with linux.resources as JSON, - is stdin"),
    Flag("--blkio-weight", "number", "weight of block I/O"),
    Flag("--cpu-period", "number", "CFS period, microseconds"),
    Flag("--cpu-quota", "number", "CFS quota, microseconds"),
    Flag("--cpu-share", "number", "relative weight"),
    Flag("--cpu-rt-period", "number", "realtime period, microseconds"),
    Flag("--cpu-rt-runtime", "number", "realtime runtime, microseconds"),
    Flag("--cpuset-cpus", "text", "CPUs to use"),
    Flag("--cpuset-mems", "text", "memory nodes to use"),
    Flag("--memory", "number", "limit, bytes"),
    Flag("--memory-reservation", "number", "soft limit, bytes"),
    Flag("--memory-swap", "number", "limit of memory and swap, bytes; -1 is none"),
    Flag("--pids-limit", "number", "most processes"),
]
_ONE = (1, 1)
_NAME = "CONTAINER"

COMMANDS = {
    command.name: command
    for command in (
        Command("create", f"create [flags] {_NAME}", "create a container", _CREATE, _ONE),
        Command("start", f"start {_NAME}", "execute a created container's program", [], _ONE),
        Command("run", f"run [flags] {_NAME}", "create and start a container", _RUN, _ONE),
        Command("state", f"state {_NAME}", "the state of a container", [], _ONE),
        Command(
            "kill",
            f"kill [flags] {_NAME} [SIGNAL]",
            "send a signal (default SIGTERM)",
            [Flag("--all -a", "switch", "to all processes of the container")],
            (1, 2),
        ),
        Command(
            "delete",
            f"delete [flags] {_NAME}",
            "delete what a stopped container holds",
            [Flag("--force -f", "switch", "kill it first; no error if there is none")],
            _ONE,
        ),
        Command(
            "exec",
            f"exec [flags] {_NAME} PROGRAM [ARGUMENT...]",
            "execute a further process in a container",
            _EXEC,
            (1, -1),
            stops=True,
        ),
        Command(
            "list",
            "list [flags]",
            "the containers of this root",
            [
                Flag("--format -f", "text", "table or json"),
                Flag("--quiet -q", "switch", "only names"),
            ],
            (0, 0),
        ),
        Command(
            "ps",
            f"ps [flags] {_NAME} [PS-OPTION...]",
            "the processes of a container",
            [Flag("--format -f", "text", "table or json")],
            (1, -1),
            stops=True,
        ),
        Command("pause", f"pause {_NAME}", "freeze all processes", [], _ONE),
        Command("resume", f"resume {_NAME}", "thaw all processes", [], _ONE),
        Command("update", f"update [flags] {_NAME}", "change limits", _UPDATE, _ONE),
        Command(
            "events",
            f"events [flags] {_NAME}",
            "statistics and out-of-memory events",
            [
                Flag("--interval", "text", "between statistics, as 5s"),
                Flag("--stats", "switch", "statistics once"),
            ],
            _ONE,
        ),
        Command(
            "spec",
            "spec [flags]",
            "write a config.json to begin with",
            [_BUNDLE, Flag("--rootless", "switch", "not supported")],
            (0, 0),
        ),
        Command("features", "features", "what this runtime can do", [], (0, 0)),
    )
}

GLOBAL = Command(
    PROGRAM,
    f"{PROGRAM} [global flags] COMMAND [flags] [arguments]",
    "an OCI runtime",
    [
        Flag("--root", "text", f"directory of containers' state (default {DEFAULT_ROOT})"),
        Flag("--log", "text", "file to append errors to"),
        Flag("--log-format", "text", "text or json"),
        Flag("--debug", "switch", "accepted: there is nothing more to say"),
        Flag("--systemd-cgroup", "switch", "not supported"),
        Flag("--cgroup-manager", "text", "cgroupfs"),
        Flag("--rootless", "text", "false or auto"),
        Flag("--criu", "text", "accepted: there is no checkpoint"),
        Flag("--help -h", "switch", "show help"),
        Flag("--version -v", "switch", "show the version"),
    ],
    (0, -1),
    stops=True,
)


def main(words: list[str]) -> int:
    """The exit status."""
    gc.disable()
    out = Reporter()
    try:
        given, rest = parse(GLOBAL, words)
        out = Reporter(given.get("log", ""), _log_format(given))
        _judge(given)
        if given.get("version"):
            write(f"{PROGRAM} version {__version__}\nspec: {state.OCI_VERSION}\n")
            return 0
        if given.get("help") or not rest or rest[0] in ("help", "h"):
            write(_help())
            return 0
        return _dispatch(os.path.abspath(given.get("root") or DEFAULT_ROOT), out, rest)
    except (UsageError, InvalidBundle, Refused) as error:
        out.fail(str(error))
    except Failure as failure:
        out.fail(str(failure))
    except OSError as error:
        about = f": {error.filename}" if error.filename else ""
        out.fail(f"{error.strerror or error}{about}")
    except messages.ConnectionEnded:
        out.fail("the container's first process died")
    return EXIT_FAILED


def _log_format(given: Values) -> str:
    form: str = given.get("log-format", "text")
    if form not in ("text", "json"):
        raise UsageError(f"invalid log format {form!r}: text or json")
    return form


def _judge(given: Values) -> None:
    if given.get("systemd-cgroup") or given.get("cgroup-manager", "cgroupfs") != "cgroupfs":
        raise UsageError(
            "--systemd-cgroup is not supported: use the cgroupfs manager "
            "(podman --cgroup-manager cgroupfs, containerd's SystemdCgroup = false)"
        )
    if given.get("rootless", "auto") not in ("auto", "false"):
        raise UsageError("--rootless is not supported")


def _dispatch(root: str, out: Reporter, words: list[str]) -> int:
    command = COMMANDS.get(words[0])
    if command is None:
        if words[0] in ("checkpoint", "restore"):
            raise UsageError(f"{words[0]} is not supported")
        raise UsageError(f"No help topic for '{words[0]}'")
    if any(word in ("--help", "-h") for word in words[1:2]):
        write(_command_help(command))
        return 0
    given, operands = parse(command, words[1:])
    if command.name in ("create", "run", "exec", "start") and os.geteuid() != 0:
        raise UsageError(f"{command.name} needs root: rootless containers are not supported")
    return _handler(command.name)(root, out, given, operands)


def _handler(name: str) -> Callable[[str, Reporter, Values, list[str]], int]:
    """Each command pays for what it imports."""
    if name in ("create", "start", "run", "exec"):
        from tiffin.runtime.oci import making  # noqa: PLC0415

        return making.HANDLERS[name]
    if name in ("state", "kill", "delete", "pause", "resume", "update"):
        from tiffin.runtime.oci import control  # noqa: PLC0415

        return control.HANDLERS[name]
    from tiffin.runtime.oci import describe  # noqa: PLC0415

    return describe.HANDLERS[name]


def _help() -> str:
    lines = [f"Usage: {GLOBAL.usage}\n", f"{PROGRAM}: {GLOBAL.about}\n", "Commands:"]
    lines += [f"  {command.name:<10} {command.about}" for command in COMMANDS.values()]
    return "\n".join([*lines, "", "Global flags:", *_flag_lines(GLOBAL), ""])


def _command_help(command: Command) -> str:
    lines = [f"Usage: {PROGRAM} {command.usage}\n", command.about, "", *_flag_lines(command)]
    return "\n".join([*lines, ""])


def _flag_lines(command: Command) -> list[str]:
    return [f"  {', '.join(flag.names):<24} {flag.about}" for flag in command.flags]
