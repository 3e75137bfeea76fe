"""`inspect`: everything that the daemon knows of a thing, as JSON or by a template."""

from __future__ import annotations

from tiffin.cli.client import quote
from tiffin.cli.failures import CommandFailed, DaemonAnswered, DaemonDown
from tiffin.cli.images import image_path
from tiffin.cli.jsonlayout import indent_text
from tiffin.cli.jsontext import decode
from tiffin.cli.jsontext import show as compact
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import complain, say
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.cli.client import Client
    from tiffin.cli.options import Option

KINDS = ("container", "image", "network", "volume")
# Types that Docker knows and no engine without a swarm has.
_FOREIGN = ("config", "node", "plugin", "secret", "service", "task")


def _path(kind: str, name: str) -> str:
    if kind == "container":
        return container_path(name, "json")
    if kind == "image":
        return image_path(name, "json")
    return f"/{kind}s/{quote(name)}"


def _fetch(
    client: Client, kind: str, name: str, *, size: bool = False, platform: str = ""
) -> bytes:
    query = {"size": "1"} if size and kind == "container" else {}
    if platform:
        from tiffin.cli.platforms import platform_query

        query |= platform_query(platform)
    return client.request("GET", _path(kind, name), query).read()


def show(names: list[str], form: str, fetch: Callable[[str], bytes]) -> None:
    """Prints what `fetch` finds for each name; errors at the end, when all were asked for."""
    errors: list[str] = []
    documents: list[bytes] = []
    template = None
    if form not in ("", "json"):
        from tiffin.cli.gotemplate import parse

        template = parse(form, strict=True)
    lines = []
    for name in names:
        try:
            found = fetch(name)
            if template is None:
                documents.append(found.strip())
            else:
                lines.append(template.render(decode(found)))
        except DaemonDown:
            raise
        except CommandFailed as error:
            errors.append(error.message)
        except ValueError as error:
            errors.append(f"template parsing error: {error}")
    if template is not None:
        say("\n".join(lines))
    else:
        text = b"[" + b",".join(documents) + b"]"
        say(indent_text(text) if form == "" else compact(decode(text)))
    if errors:
        raise CommandFailed("\n".join(errors))


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

    def fetch(name: str) -> bytes:
        if kind:
            return _fetch(client, kind, name, size=size)
        for each in KINDS:
            try:
                found = _fetch(client, each, name, size=size)
            except DaemonAnswered as error:
                if error.status == 404 or "invalid reference format" in error.words:
                    continue
                raise
            if size and each != "container":
                complain(f"WARNING: --size ignored for {each}")
            return found
        raise CommandFailed(f"Error: No such object: {name}")

    show(arguments.words, arguments.text("format"), fetch)


def _show_as(client: Client, arguments: Arguments, kind: str) -> None:
    form = arguments.text("as")
    if form != "run" or kind != "container":
        raise CommandFailed(f'a {kind} cannot be shown as "{form}": containers can, as "run"')
    if arguments.given("format") or arguments.given("size"):
        raise CommandFailed("--as stands alone: neither --format nor --size goes with it")
    from tiffin.cli.as_run import show_commands

    show_commands(client, arguments.words)


def _of_kind(kind: str) -> Callable[[Client, Arguments], None]:
    def run(client: Client, arguments: Arguments) -> None:
        if arguments.given("as"):
            _show_as(client, arguments, kind)
            return
        size = arguments.flag("size")
        form = arguments.text("format")
        platform = arguments.text("platform")

        def fetch(name: str) -> bytes:
            return _fetch(client, kind, name, size=size, platform=platform)

        show(arguments.words, form, fetch)

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
        _of_kind(kind),
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
