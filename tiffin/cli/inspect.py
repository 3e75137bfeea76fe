"""`inspect`: everything that the daemon knows of a thing, as JSON or by a template."""

from __future__ import annotations

from tiffin.cli.client import quote
from tiffin.cli.documents import Document, show_documents
from tiffin.cli.failures import CommandFailed, DaemonAnswered, EmptyName
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import complain
from tiffin.cli.pipelining import get_each
from tiffin.cli.targets import container_path, image_path, path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tiffin.cli.client import Client, Query
    from tiffin.cli.options import Option

KINDS = ("container", "image", "network", "volume")
# What Go's client reads their documents into.
STRUCTS = {
    "container": "container.InspectResponse",
    "image": "image.InspectResponse",
    "network": "network.Inspect",
    "volume": "volume.Volume",
}
# Types that Docker knows and no engine without a swarm has.
_FOREIGN = ("config", "node", "plugin", "secret", "service", "task")


def _path(kind: str, name: str) -> str:
    if kind == "container":
        return container_path(name, "json")
    if kind == "image":
        return image_path(name, "json")
    if kind == "plugin":
        return f"/plugins/{quote(name)}/json"
    return path_of(kind, name)


def _query(kind: str, *, size: bool = False, platform: str = "") -> dict[str, str]:
    query = {"size": "1"} if size and kind == "container" else {}
    if platform:
        from tiffin.cli.platforms import platform_json

        query["platform"] = platform_json(platform)
    return query


def inspect(client: Client, arguments: Arguments) -> None:
    kind = arguments.text("type")
    if arguments.given("type") and kind not in (*KINDS, *_FOREIGN):
        names = '", "'.join(sorted((*KINDS, *_FOREIGN)))
        words = "type is empty" if not kind else f'unknown type: "{kind}"'
        raise CommandFailed(f'{words}: must be one of "{names}"')
    if arguments.given("as"):
        _show_as(client, arguments, kind or "container")
        return
    size = arguments.flag("size")
    if kind:
        found = _of_kind(client, kind, arguments.words, _query(kind, size=size))
    else:
        found = _of_any_kind(client, arguments.words, size=size)
    show_documents(found, arguments.text("format"))


def _of_kind(
    client: Client, kind: str, names: Sequence[str], query: Query
) -> Iterator[Document | CommandFailed]:
    if all(name.strip() for name in names):
        for found in get_each(client, [_path(kind, name) for name in names], query):
            yield _document(kind, found)
        return
    for name in names:
        if name.strip():
            (answer,) = get_each(client, [_path(kind, name)], query)
            yield _document(kind, answer)
        else:
            yield CommandFailed("Error: No such image: ") if kind == "image" else EmptyName(kind)


def _document(kind: str, found: bytes | CommandFailed) -> Document | CommandFailed:
    return found if isinstance(found, CommandFailed) else Document(found, STRUCTS.get(kind, ""))


def _parsed(found: Document | CommandFailed) -> Document | CommandFailed:
    """Of `volume inspect`, where Go's client keeps but what it read, and writes that anew."""
    if isinstance(found, CommandFailed):
        return found
    text = found.text
    for char in b"<>&":
        text = text.replace(bytes((char,)), b"\\u%04x" % char)
    return Document(text, found.kind, has_raw=False)


def _of_any_kind(
    client: Client, names: Sequence[str], *, size: bool
) -> Iterator[Document | CommandFailed]:
    """Containers first: most are, and so all are asked for at once."""
    first, *others = KINDS
    asked = _of_kind(client, first, names, _query(first, size=size))
    for name, found in zip(names, asked, strict=True):
        yield _otherwise(client, others, name, size=size) if _is_other(found) else found


def _is_other(found: Document | CommandFailed) -> bool:
    return isinstance(found, DaemonAnswered) and (
        found.status == 404 or "invalid reference format" in found.words
    )


def _otherwise(
    client: Client, kinds: Sequence[str], name: str, *, size: bool
) -> Document | CommandFailed:
    for kind in kinds:
        (found,) = _of_kind(client, kind, [name], None)
        if not _is_other(found):
            if size and not isinstance(found, CommandFailed):
                complain(f"WARNING: --size ignored for {kind}")
            return found
    return CommandFailed(f"Error: No such object: {name}")


def _show_as(client: Client, arguments: Arguments, kind: str) -> None:
    form = arguments.text("as")
    if form != "run" or kind != "container":
        raise CommandFailed(f'a {kind} cannot be shown as "{form}": containers can, as "run"')
    if arguments.given("format") or arguments.given("size"):
        raise CommandFailed("--as stands alone: neither --format nor --size goes with it")
    from tiffin.cli.as_run import show_commands

    show_commands(client, arguments.words)


def _inspecting(kind: str) -> Callable[[Client, Arguments], None]:
    def run(client: Client, arguments: Arguments) -> None:
        if arguments.given("as"):
            _show_as(client, arguments, kind)
            return
        query = _query(kind, size=arguments.flag("size"), platform=arguments.text("platform"))
        found = _of_kind(client, kind, arguments.words, query)
        show_documents(map(_parsed, found) if kind == "volume" else found, arguments.text("format"))

    return run


_FORMAT: Option = (
    "format",
    "f",
    "string",
    (
        "Format output using a custom template:\n"
        "'json':             Print in JSON format\n"
        "'TEMPLATE':         Print output using the given Go template."
    ),
)
_SIZE: Option = ("size", "s", "bool", "Display total file sizes")
_AS: Option = ("as", "", "string", "'run': print the command that makes the container again")
INSPECT = Command(
    inspect,
    " [OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on Docker objects",
    (_AS, _FORMAT, _SIZE, ("type", "", "string", "Only inspect objects of the given type")),
    least=1,
)


def _command(kind: str, *more: Option) -> Command:
    return Command(
        _inspecting(kind),
        f" [OPTIONS] {kind.upper()} [{kind.upper()}...]",
        f"Display detailed information on one or more {kind}s",
        (_FORMAT, *more),
        least=1,
    )


INSPECT_CONTAINER = _command("container", _AS, _SIZE)
INSPECT_IMAGE = _command(
    "image",
    (
        "platform",
        "",
        "string",
        'Inspect a specific platform of the multi-platform image ("os[/arch[/variant]]")',
    ),
)
INSPECT_NETWORK = _command("network", ("verbose", "v", "bool", "Verbose output for diagnostics"))
INSPECT_VOLUME = _command("volume")
