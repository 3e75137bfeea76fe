"""`diff`, `commit`, `export`: a container's files."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed, EmptyName
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import say
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client

_KINDS = ("C", "A", "D")


def diff(client: Client, arguments: Arguments) -> None:
    name = arguments.words[0]
    if not name:
        raise EmptyName("container", "Container name cannot be empty")
    changes = client.get(container_path(name, "changes")) or ()
    if changes:
        say("\n".join(f"{_KINDS[each['Kind']]} {each['Path']}" for each in changes))


def commit(client: Client, arguments: Arguments) -> None:
    container, *reference = arguments.words
    if not container:
        raise EmptyName("container")
    repository, tag = "", ""
    if any(reference):
        from tiffin.cli.names import parse_name

        name = parse_name(reference[0])
        if name.digest:
            raise CommandFailed("refusing to create a tag with a digest reference")
        repository, tag = name.repository, name.tag or "latest"
    query: dict[str, object] = {
        "container": container,
        "repo": repository,
        "tag": tag,
        "comment": arguments.text("message"),
        "author": arguments.text("author"),
    }
    if arguments.many("change"):
        query["changes"] = arguments.many("change")
    if not arguments.flag("pause", default=True):
        query["pause"] = "0"
    say(client.post("/commit", query, b"")["Id"])


def export(client: Client, arguments: Arguments) -> None:
    from tiffin.cli.files import save_stream

    path = arguments.text("output")
    name = arguments.words[0]
    target = container_path(name, "export")
    save_stream(lambda: client.request("GET", target), path, "export container")


DIFF = Command(
    diff,
    " CONTAINER",
    "Inspect changes to files or directories on a container's filesystem",
    least=1,
    most=1,
)
COMMIT = Command(
    commit,
    " [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
    (
        ("author", "a", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        ("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        ("message", "m", "string", "Commit message"),
        ("pause", "p", "bool", "Pause container during commit (default true)"),
    ),
    least=1,
    most=2,
    interspersed=False,
)
EXPORT = Command(
    export,
    " [OPTIONS] CONTAINER",
    "Export a container's filesystem as a tar archive",
    (("output", "o", "string", "Write to a file, instead of STDOUT"),),
    least=1,
    most=1,
)
