"""The commands that bring something into being: create, start, run, exec."""

from __future__ import annotations

import os

from tiffin.runtime import messages
from tiffin.runtime.birth import Host
from tiffin.runtime.failure import Failure
from tiffin.runtime.oci import bundle, create, execute, host, state
from tiffin.runtime.oci.flags import UsageError, Values
from tiffin.runtime.oci.output import Reporter
from tiffin.runtime.oci.state import Container, Refused
from tiffin.runtime.operations import Config

EXIT_EXEC_FAILED = 255


def create_container(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    _create(root, out, {**given, "detach": True}, operands[0])
    return 0


def _create(
    root: str, out: Reporter, given: Values, name: str
) -> tuple[Container, Config, create.Creator]:
    state.check_name(name)
    directory = os.path.abspath(given.get("bundle") or ".")
    config = bundle.read(directory)
    found = host.look()
    _warn_of_capabilities(config, found, out)
    wishes = bundle.Wishes(
        _preserved(given, config),
        no_pivot=bool(given.get("no-pivot")),
        keyring=not given.get("no-new-keyring"),
    )
    made = bundle.ours(config, directory, name, found.layout, wishes)
    terminal = bool((config.get("process") or {}).get("terminal"))
    _check_terminal(given, terminal=terminal)
    container = state.claim(root, name, directory, made, found.layout)
    creator = create.make(
        container, made, found, given.get("console-socket", ""), given.get("pid-file", "")
    )
    return container, made, creator


def _warn_of_capabilities(config: Config, found: Host, out: Reporter) -> None:
    process = config.get("process")
    if process is None:
        return
    unknown = bundle.unknown_capabilities(process, found.last_capability)
    if unknown:
        out.warn(f"ignoring unknown or unavailable capabilities: {', '.join(unknown)}")
        config["process"] = bundle.without_capabilities(process, unknown)


def _preserved(given: Values, config: Config) -> int:
    """Descriptors that the program gets beside stdio; systemd's sockets come first."""
    listening = os.environ.get("LISTEN_FDS", "")
    count = int(listening) if listening.isascii() and listening.isdigit() else 0
    if count and config.get("process"):
        process = config["process"]
        process["env"] = [*(process.get("env") or []), f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    more: int = given.get("preserve-fds", 0)
    count += max(0, more)
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError as error:
            raise UsageError(f"--preserve-fds: descriptor {fd} is not open") from error
    return count


def _check_terminal(given: Values, *, terminal: bool) -> None:
    if given.get("console-socket") and not terminal:
        raise UsageError("cannot use console socket if runtime will not allocate a tty")
    if terminal and given.get("detach") and not given.get("console-socket"):
        raise UsageError("a detached container with a terminal needs --console-socket")


def start_container(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    del given
    container = state.find(root, operands[0])
    create.start(container)
    create.after_start(container, container.config(), out.warn)
    return 0


def run_container(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    container, config, creator = _create(root, out, given, operands[0])
    try:
        create.start(container)
    except (Failure, Refused, OSError, messages.ConnectionEnded):
        create.end(creator.pid)
        _delete(container, config, out)
        raise
    create.after_start(container, config, out.warn)
    if given.get("detach"):
        return 0
    code = execute.await_end(creator.pid, creator.master)
    if not given.get("keep"):
        _delete(container, config, out)
    return code


def _delete(container: Container, config: Config, out: Reporter) -> None:
    create.clean_up(container)
    container.forget()
    create.after_delete(container.state("stopped"), config, out.warn)


def exec_in(root: str, out: Reporter, given: Values, operands: list[str]) -> int:
    container = state.find(root, operands[0])
    execute.check_exec(container, given)
    process = execute.exec_process(container, given, operands[1:])
    execution = execute.Execution(container, process, host.look(), given)
    try:
        execution.start()
    except Failure as failure:
        out.fail(str(failure))
        return EXIT_EXEC_FAILED
    if given.get("pid-file"):
        state.write_pid(given["pid-file"], execution.pid)
    if given.get("detach"):
        return 0
    return execute.await_end(execution.pid, execution.master)


HANDLERS = {
    "create": create_container,
    "start": start_container,
    "run": run_container,
    "exec": exec_in,
}
