"""`run` and `create`."""

from __future__ import annotations

import posix

from tiffin.cli.create_body import create_body
from tiffin.cli.failures import CommandFailed, DaemonAnswered, WrongOption
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import (
    STDOUT,
    complain,
    is_terminal,
    refuse_without_terminal,
    say,
    terminal_size,
)
from tiffin.cli.run_options import CHECKS, CONTAINER_OPTIONS, RUN_OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client

_PULLS = ("always", "missing", "never", "")
# Docker's CLI knows by these words what was wrong; the rest is 125.
_NOT_FOUND = ("executable file not found", "no such file or directory", "system cannot find the")
_NOT_EXECUTABLE = ("permission denied", "is a directory")


def with_help(message: str, name: str, code: int) -> CommandFailed:
    return CommandFailed(
        f"tiffin: {message}\n\nRun 'tiffin {name} --help' for more information", code
    )


def start_failure(error: CommandFailed) -> CommandFailed:
    """The exit code that a failed create or start stands for: 125, 126 or 127."""
    message = error.message
    if any(words in message for words in _NOT_FOUND):
        code = 127
    elif any(words in message for words in _NOT_EXECUTABLE):
        code = 126
    else:
        code = 125
    return with_help(message, "run", code)


def run(client: Client, arguments: Arguments) -> int:
    body = request_body(arguments, "run")
    if arguments.flag("detach"):
        if arguments.given("attach"):
            raise CommandFailed("conflicting options: cannot specify both --attach and --detach")
        for name in ("AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"):
            body[name] = False
    else:
        if body["AttachStdin"] and body["Tty"]:
            refuse_without_terminal()
        client.meanwhile = _load_attaching
    try:
        container = create_container(client, arguments, body)
    except CommandFailed as error:
        raise start_failure(error) from error
    if body["AttachStdin"] or body["AttachStdout"] or body["AttachStderr"]:
        return _run_attached(client, arguments, body, container)
    say(container)
    try:
        _start(client, container)
    except CommandFailed as error:
        raise start_failure(error) from error
    return 0


def _load_attaching() -> None:
    import tiffin.cli.attaching
    import tiffin.cli.signals  # noqa: F401


def _start(client: Client, container: str) -> None:
    client.request("POST", f"/containers/{container}/start").read()


def _run_attached(
    client: Client, arguments: Arguments, body: dict[str, Any], container: str
) -> int:
    from tiffin.cli.attaching import Waiting, attach_query, converse
    from tiffin.cli.streams import Detached

    if forwarding := arguments.flag("sig-proxy", default=True):
        from tiffin.cli.signals import forward_signals

        forward_signals(client, container)
    tty, keys = body["Tty"], arguments.text("detach-keys")
    stdin, stdout, stderr = (body[f"Attach{name}"] for name in ("Stdin", "Stdout", "Stderr"))
    query = attach_query(keys, stdin=stdin, stdout=stdout, stderr=stderr)
    waiting = Waiting(client, container, "removed" if arguments.flag("rm") else "next-exit")
    stream = client.hijack(f"/containers/{container}/attach", query)
    waiting.heard()

    def start() -> None:
        try:
            _start(client, container)
        except CommandFailed as error:
            if arguments.flag("rm"):
                waiting.exit_code()
            raise start_failure(error) from error
        if tty and is_terminal(STDOUT):
            from tiffin.cli.terminal import follow_size

            follow_size(client, f"/containers/{container}/resize")

    try:
        converse(
            stream,
            tty=tty,
            stdin=stdin,
            output=stdout or stderr,
            keys=keys,
            until=waiting.connection,
            ready=start,
            catch_signals=not forwarding,
        )
    except Detached:
        return 0
    return waiting.exit_code()


def create(client: Client, arguments: Arguments) -> None:
    say(create_container(client, arguments, request_body(arguments, "create")))


def request_body(arguments: Arguments, name: str) -> dict[str, Any]:
    pull = arguments.text("pull", "missing")
    try:
        if pull not in _PULLS:
            raise WrongOption(
                f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"'
            )
        return create_body(arguments, terminal_size(STDOUT))
    except WrongOption as error:
        raise with_help(str(error), name, 125) from error


class _IdFile:
    """The file of `--cidfile`: taken first, gone again if no container was made."""

    def __init__(self, path: str):
        self.path = path
        self.descriptor = -1

    def __enter__(self) -> _IdFile:
        if self.path:
            try:
                self.descriptor = posix.open(
                    self.path, posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY, 0o666
                )
            except FileExistsError as error:
                raise CommandFailed(
                    "container ID file found, make sure the other container isn't running "
                    f"or delete {self.path}"
                ) from error
            except OSError as error:
                raise CommandFailed(
                    "failed to create the container ID file: "
                    f"open {self.path}: {(error.strerror or '').lower()}"
                ) from error
        return self

    def put(self, identity: str) -> None:
        if self.path:
            posix.write(self.descriptor, identity.encode())
            posix.close(self.descriptor)
            self.descriptor = -1

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            posix.close(self.descriptor)
            posix.unlink(self.path)


def create_container(client: Client, arguments: Arguments, body: dict[str, Any]) -> str:
    """Creates it, after pulling its image where that is missing; returns the id."""
    pull = arguments.text("pull", "missing")
    image = body["Image"]
    query = {"name": arguments.text("name")} if arguments.text("name") else {}
    with _IdFile(arguments.text("cidfile")) as file:
        if not image:
            raise CommandFailed("invalid reference format")
        if arguments.text("platform"):
            query["platform"] = _platform(arguments.text("platform"))
        if pull == "always":
            _pull(client, arguments, image)
        try:
            answer = client.post("/containers/create", query, body)
        except DaemonAnswered as error:
            if error.status == 400 and "invalid reference format" in error.words:
                from tiffin.cli.names import parse_name

                parse_name(image)  # says it in more detail
            if error.status != 404 or pull != "missing" or _is_id(image):
                raise
            if not arguments.flag("quiet"):
                complain(f"Unable to find image '{with_tag(image)}' locally")
            _pull(client, arguments, image)
            answer = client.post("/containers/create", query, body)
        file.put(answer["Id"])
    for warning in [*(answer.get("Warnings") or ()), *_dns_warnings(body)]:
        complain(f"WARNING: {warning}")
    return str(answer["Id"])


def _platform(text: str) -> str:
    from tiffin.cli.platforms import platform_words

    try:
        return platform_words(text)
    except ValueError as error:
        raise CommandFailed(f"error parsing specified platform: {error}") from error


def _pull(client: Client, arguments: Arguments, image: str) -> None:
    from tiffin.cli.pull import pull_image

    pull_image(client, image, platform=arguments.text("platform"), quiet=arguments.flag("quiet"))


def _is_id(image: str) -> bool:
    """A whole image id is no name: nothing to pull."""
    digits = image.removeprefix("sha256:")
    return len(digits) == 64 and not digits.strip("0123456789abcdef")


def with_tag(image: str) -> str:
    """The familiar name, with `:latest` where it has neither tag nor digest."""
    familiar = image.removeprefix("docker.io/").removeprefix("library/")
    if "@" in familiar or ":" in familiar.rpartition("/")[2]:
        return familiar
    return f"{familiar}:latest"


def _dns_warnings(body: dict[str, Any]) -> list[str]:
    for address in body["HostConfig"]["Dns"]:
        if address.startswith("127.") or address == "::1":
            return [f"Localhost DNS ({address}) may fail in containers."]
    return []


RUN = Command(
    run,
    " [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image",
    CONTAINER_OPTIONS + RUN_OPTIONS,
    least=1,
    checks=CHECKS,
    interspersed=False,
)

CREATE = Command(
    create,
    " [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a new container",
    CONTAINER_OPTIONS,
    least=1,
    checks=CHECKS,
    interspersed=False,
)
