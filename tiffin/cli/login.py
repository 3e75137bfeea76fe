"""`login` and `logout`: names and passwords for registries, kept where Docker keeps them."""

from __future__ import annotations

from tiffin.cli.credentials import HUB, find_login, forget_login, hostname, keep_login
from tiffin.cli.failures import CommandFailed
from tiffin.cli.files import read_pieces
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDIN, complain, is_terminal, say
from tiffin.cli.prompting import ask_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client


def _server(arguments: Arguments) -> str:
    named = arguments.words[0] if arguments.words else ""
    return HUB if named in ("", "docker.io", HUB) else hostname(named)


def login(client: Client, arguments: Arguments) -> None:
    server = _server(arguments)
    user, password = _given(arguments)
    if not user and not password and (known := find_login(server)):
        user = known.get("username") or "<token>"
        complain(f"Authenticating with existing credentials... [Username: {user}]")
        answer = client.post("/auth", None, known)
        say(answer.get("Status", "Login Succeeded"))
        return
    if (not user or not password) and not is_terminal(STDIN):
        raise CommandFailed("Error: Cannot perform an interactive login from a non TTY device")
    user = user or _ask("Username: ")
    if not user:
        raise CommandFailed("Error: Non-null Username Required")
    password = password or _ask("Password: ", hidden=True)
    if not password:
        raise CommandFailed("Error: Password Required")
    entered = {"username": user, "password": password, "serveraddress": server}
    answer = client.post("/auth", None, entered) or {}
    keep_login(server, user, password, answer.get("IdentityToken", ""))
    say(answer.get("Status") or "Login Succeeded")


def _given(arguments: Arguments) -> tuple[str, str]:
    user, password = arguments.text("username").strip(), arguments.text("password")
    if password:
        if arguments.flag("password-stdin"):
            raise CommandFailed(
                "conflicting options: cannot specify both --password and --password-stdin"
            )
        complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if arguments.flag("password-stdin"):
        if not user:
            raise CommandFailed("the --password-stdin option requires --username to be set")
        password = b"".join(read_pieces()).decode().rstrip("\r\n")
    return user, password


def _ask(question: str, *, hidden: bool = False) -> str:
    import termios

    mode = termios.tcgetattr(STDIN)
    if hidden:
        silent = termios.tcgetattr(STDIN)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(STDIN, termios.TCSADRAIN, silent)
    try:
        answer = ask_line(question).decode()
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, mode)
    if hidden:
        say("")
    return answer


def logout(_: Client, arguments: Arguments) -> None:
    server = _server(arguments)
    say(f"Removing login credentials for {server}")
    forget_login(server)


LOGIN = Command(
    login,
    " [OPTIONS] [SERVER]",
    "Authenticate to a registry",
    (
        ("password", "p", "string", "Password or Personal Access Token (PAT)"),
        (
            "password-stdin",
            "",
            "bool",
            "Take the Password or Personal Access Token (PAT) from stdin",
        ),
        ("username", "u", "string", "Username"),
    ),
    most=1,
)
LOGOUT = Command(logout, " [SERVER]", "Log out from a registry", most=1)
