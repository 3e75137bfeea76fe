"""`pull` and `push`."""

from __future__ import annotations

from tiffin.cli.client import quote
from tiffin.cli.credentials import auth_header
from tiffin.cli.failures import CommandFailed
from tiffin.cli.names import Name, parse_name
from tiffin.cli.optionchecks import check_no_trust
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDERR, STDOUT, is_terminal, say
from tiffin.cli.progress import show_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client
    from tiffin.cli.options import Option


def pull_image(client: Client, image: str, *, platform: str, quiet: bool) -> None:
    """Pulls on behalf of `run`: what there is to see goes to stderr."""
    name = parse_name(image)
    if not name.tag and not name.digest:
        name.tag = "latest"
    _pull(client, name, platform, -1 if quiet else STDERR)


def _pull(client: Client, name: Name, platform: str, descriptor: int) -> None:
    query = {"fromImage": name.repository}
    if name.digest or name.tag:
        query["tag"] = name.digest or name.tag
    if platform:
        query["platform"] = platform
    answer = client.request("POST", "/images/create", query, b"", auth_header(name.domain))
    show_progress(answer.documents(), descriptor)


def _named(arguments: Arguments) -> Name:
    """The name, `latest` added and said where neither tag nor digest nor --all-tags is."""
    name = parse_name(arguments.words[0])
    if arguments.flag("all-tags"):
        if name.tag or name.digest:
            raise CommandFailed("tag can't be used with --all-tags/-a")
    elif not name.tag and not name.digest:
        name.tag = "latest"
        if not arguments.flag("quiet"):
            say("Using default tag: latest")
    return name


def pull(client: Client, arguments: Arguments) -> None:
    name = _named(arguments)
    quiet = arguments.flag("quiet")
    _pull(client, name, arguments.text("platform"), -1 if quiet else STDOUT)
    say(str(name))


_ONE_PLATFORM = """\
Using --platform pushes only the specified platform manifest of a multi-platform image index.
Other components, like attestations, will not be included.
To push the complete multi-platform image, remove the --platform flag.
"""


def _say_note(text: str) -> None:
    """As Docker's: in colour for a terminal."""
    head, width, style, plain = " Info -> ", 9, "", ""
    if is_terminal(STDOUT):
        bold, light, reset = "\x1b[1m", "\x1b[96m", "\x1b[0m"
        head = f"{bold}\x1b[106m\x1b[30mi{reset}{reset} {light}Info → {reset}{reset}"
        text = text.replace("--platform", f"{bold}--platform{reset}")
        style, plain = "\x1b[3m", reset
    lines = [f"{style}{line}{plain}" for line in text.split("\n")]
    say("\n" + head + f"\n{' ' * width}".join(lines))


def push(client: Client, arguments: Arguments) -> None:
    query: dict[str, Any] = {}
    if platform := arguments.text("platform"):
        from tiffin.cli.platforms import platform_json

        query["platform"] = platform_json(platform, f"Invalid platform {platform}")
        _say_note(_ONE_PLATFORM)
    name = _named(arguments)
    quiet = arguments.flag("quiet")
    if not arguments.flag("all-tags"):
        query["tag"] = name.tag
    familiar = Name(name.repository).familiar
    path = f"/images/{quote(familiar, '/:')}/push"
    answer = client.request("POST", path, query, b"", auth_header(name.domain))
    show_progress(answer.documents(), -1 if quiet else STDOUT)
    if quiet:
        say(str(name))


_PLATFORM: Option = (
    "platform",
    "",
    "string",
    "Set platform if server is multi-platform capable",
)
PULL = Command(
    pull,
    " [OPTIONS] NAME[:TAG|@DIGEST]",
    "Download an image from a registry",
    (
        ("all-tags", "a", "bool", "Download all tagged images in the repository"),
        ("disable-content-trust", "", "bool", "Skip image verification (default true)"),
        _PLATFORM,
        ("quiet", "q", "bool", "Suppress verbose output"),
    ),
    least=1,
    most=1,
    checks={"disable-content-trust": check_no_trust},
)
PUSH = Command(
    push,
    " [OPTIONS] NAME[:TAG]",
    "Upload an image to a registry",
    (
        ("all-tags", "a", "bool", "Push all tags of an image to the repository"),
        ("disable-content-trust", "", "bool", "Skip image signing (default true)"),
        (
            "platform",
            "",
            "string",
            "Push a platform-specific manifest as a single-platform image to the registry",
        ),
        ("quiet", "q", "bool", "Suppress verbose output"),
    ),
    least=1,
    most=1,
    checks={"disable-content-trust": check_no_trust},
)
