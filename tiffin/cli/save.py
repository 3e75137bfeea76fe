"""`save`, `load`, `import`: images as files."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.files import open_input, read_pieces, save_stream
from tiffin.cli.names import parse_name
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDIN, STDOUT, is_terminal, write
from tiffin.cli.progress import show_progress
from tiffin.cli.uploading import upload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client


def save(client: Client, arguments: Arguments) -> None:
    query: dict[str, Any] = {"names": arguments.words}
    if arguments.text("platform"):
        query["platform"] = _platforms(arguments)
    path = arguments.text("output")
    save_stream(lambda: client.request("GET", "/images/get", query), path, "save image")


def _platforms(arguments: Arguments) -> list[str]:
    from tiffin.cli.platforms import platform_json

    return [platform_json(arguments.text("platform"), "invalid platform: ")]


def load(client: Client, arguments: Arguments) -> None:
    path = arguments.text("input")
    if not path and is_terminal(STDIN):
        raise CommandFailed("requested load from stdin, but stdin is empty")
    source = open_input(path) if path else STDIN
    quiet = arguments.flag("quiet") or not is_terminal(STDOUT)
    query: dict[str, Any] = {"quiet": "1" if quiet else "0"}
    if arguments.text("platform"):
        query["platform"] = _platforms(arguments)
    answer = upload(
        client,
        "POST",
        "/images/load",
        query,
        read_pieces(source),
        {"Content-Type": "application/x-tar"},
    )
    if answer.headers.get("content-type", "").startswith("application/json"):
        show_progress(answer.documents())
        return
    for piece in answer.pieces():
        write(STDOUT, piece)


def import_(client: Client, arguments: Arguments) -> None:
    source, *reference = arguments.words
    remote = source.startswith(("http://", "https://"))
    query: dict[str, Any] = {"fromSrc": source if remote else "-"}
    for option, key in (("message", "message"), ("platform", "platform")):
        if arguments.text(option):
            query[key] = arguments.text(option)
    if reference:
        query["repo"] = reference[0]
    if arguments.many("change"):
        query["changes"] = arguments.many("change")
    descriptor = -1 if remote else STDIN if source == "-" else open_input(source)
    if reference:
        parse_name(reference[0])
    if remote:
        answer = client.request("POST", "/images/create", query)
    else:
        headers = {"Content-Type": "text/plain"}
        answer = upload(client, "POST", "/images/create", query, read_pieces(descriptor), headers)
    show_progress(answer.documents())


SAVE = Command(
    save,
    " [OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    (
        ("output", "o", "string", "Write to a file, instead of STDOUT"),
        ("platform", "", "string", 'Save only the given platform (e.g., "linux/amd64")'),
    ),
    least=1,
)
LOAD = Command(
    load,
    " [OPTIONS]",
    "Load an image from a tar archive or STDIN",
    (
        ("input", "i", "string", "Read from tar archive file, instead of STDIN"),
        ("platform", "", "string", 'Load only the given platform (e.g., "linux/amd64")'),
        ("quiet", "q", "bool", "Suppress the load output"),
    ),
    most=0,
)
IMPORT = Command(
    import_,
    " [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    (
        ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        ("message", "m", "string", "Set commit message for imported image"),
        ("platform", "", "string", "Set platform if server is multi-platform capable"),
    ),
    least=1,
)
