"""`prune`, of each kind and of all: what nobody uses goes, after a question."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.listing import filters_query, parse_filter
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import say
from tiffin.cli.prompting import confirmed
from tiffin.cli.quantities import parse_size
from tiffin.cli.wording import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.cli.client import Client
    from tiffin.cli.options import Option

Filters = list[tuple[str, str]]


def _ask(arguments: Arguments, what: str, kind: str) -> None:
    if arguments.flag("force"):
        return
    separator = " " if kind == "builder" else "\n"
    question = f"WARNING! This will remove {what}.{separator}Are you sure you want to continue?"
    if not confirmed(question):
        raise CommandFailed(code=0)


def _report(title: str, lines: list[str], reclaimed: int) -> tuple[str, int]:
    return (f"{title}:\n" + "".join(f"{line}\n" for line in lines), reclaimed) if lines else ("", 0)


def _containers(client: Client, filters: Filters) -> tuple[str, int]:
    found = client.post("/containers/prune", filters_query(filters), b"")
    removed = found.get("ContainersDeleted") or []
    return _report("Deleted Containers", removed, found.get("SpaceReclaimed", 0))


def _networks(client: Client, filters: Filters) -> tuple[str, int]:
    found = client.post("/networks/prune", filters_query(filters), b"")
    return _report("Deleted Networks", found.get("NetworksDeleted") or [], 0)


def _volumes(client: Client, filters: Filters) -> tuple[str, int]:
    found = client.post("/volumes/prune", filters_query(filters), b"")
    removed = found.get("VolumesDeleted") or []
    return _report("Deleted Volumes", removed, found.get("SpaceReclaimed", 0))


def _images(client: Client, filters: Filters, *, every: bool) -> tuple[str, int]:
    wanted = [*filters, ("dangling", "false" if every else "true")]
    found = client.post("/images/prune", filters_query(wanted), b"")
    lines = [
        f"untagged: {each['Untagged']}" if each.get("Untagged") else f"deleted: {each['Deleted']}"
        for each in found.get("ImagesDeleted") or ()
    ]
    return _report("Deleted Images", lines, found.get("SpaceReclaimed", 0))


def _cache(client: Client, filters: Filters, *, every: bool, keep: int = 0) -> tuple[str, int]:
    query: dict[str, Any] = {"all": "1"} if every else {}
    if keep:
        query |= {"keep-storage": str(keep), "reserved-space": str(keep)}
    found = client.post("/build/prune", query | filters_query(filters), b"")
    lines = found.get("CachesDeleted") or []
    text, _ = _report("Deleted build cache objects", lines, 0)
    return text, found.get("SpaceReclaimed", 0)


def _tell(result: tuple[str, int], *, sizes: bool = True) -> None:
    text, reclaimed = result
    if text:
        say(text)
    if sizes:
        say(f"Total reclaimed space: {_go_size(reclaimed)}")


def _go_size(size: int) -> str:
    return human_size(size)


def prune_containers(client: Client, arguments: Arguments) -> None:
    _ask(arguments, "all stopped containers", "container")
    _tell(_containers(client, arguments.many("filter")))


def prune_networks(client: Client, arguments: Arguments) -> None:
    _ask(arguments, "all custom networks not used by at least one container", "network")
    _tell(_networks(client, arguments.many("filter")), sizes=False)


def prune_volumes(client: Client, arguments: Arguments) -> None:
    filters = arguments.many("filter")
    kind = "anonymous local"
    if arguments.flag("all"):
        if any(name == "all" for name, _ in filters):
            raise CommandFailed("conflicting options: cannot specify both --all and --filter all=1")
        filters.append(("all", "true"))
        kind = "all local"
    _ask(arguments, f"{kind} volumes not used by at least one container", "volume")
    _tell(_volumes(client, filters))


def prune_images(client: Client, arguments: Arguments) -> None:
    every = arguments.flag("all")
    what = "all images without at least one container associated to them"
    _ask(arguments, what if every else "all dangling images", "image")
    _tell(_images(client, arguments.many("filter"), every=every))


def prune_builder(client: Client, arguments: Arguments) -> None:
    every = arguments.flag("all")
    _ask(arguments, "all build cache" if every else "all dangling build cache", "builder")
    keep = arguments.number("keep-storage")
    _tell(_cache(client, arguments.many("filter"), every=every, keep=keep))


def prune_system(client: Client, arguments: Arguments) -> None:
    every, volumes = arguments.flag("all"), arguments.flag("volumes")
    filters = arguments.many("filter")
    if volumes and any(name == "until" for name, _ in filters):
        raise CommandFailed('ERROR: The "until" filter is not supported with "--volumes"')
    question = _system_question(filters, every=every, volumes=volumes)
    if not arguments.flag("force") and not confirmed(question):
        raise CommandFailed(code=0)
    steps: list[Callable[[], tuple[str, int]]] = [
        lambda: _containers(client, filters),
        lambda: _networks(client, filters),
    ]
    if volumes:
        steps.append(lambda: _volumes(client, filters))
    steps.append(lambda: _images(client, filters, every=every))
    steps.append(lambda: _cache(client, filters, every=every))
    total = 0
    for step in steps:
        text, reclaimed = step()
        total += reclaimed
        if text:
            say(text)
    say(f"Total reclaimed space: {_go_size(total)}")


def _system_question(filters: Filters, *, every: bool, volumes: bool) -> str:
    what = ["all stopped containers", "all networks not used by at least one container"]
    if volumes:
        what.append("all anonymous volumes not used by at least one container")
    if every:
        what.append("all images without at least one container associated to them")
    else:
        what.append("all dangling images")
    what.append("all build cache" if every else "unused build cache")
    lines = ["WARNING! This will remove:", *(f"  - {each}" for each in what), ""]
    if filters:
        lines.append("  Items to be pruned will be filtered with:")
        lines += [f"  - {name}={value}" for name, value in sorted(filters)]
        lines.append("")
    return "\n".join([*lines, "Are you sure you want to continue?"])


_FORCE: Option = ("force", "f", "bool", "Do not prompt for confirmation")


def _command(function: Any, summary: str, example: str, *more: Option) -> Command:
    filter_option: Option = ("filter", "", "filter", f'Provide filter values (e.g. "{example}")')
    return Command(
        function,
        " [OPTIONS]",
        summary,
        (_FORCE, filter_option, *more),
        most=0,
        checks={"filter": parse_filter, "keep-storage": parse_size},
    )


PRUNE_CONTAINERS = _command(prune_containers, "Remove all stopped containers", "until=<timestamp>")
PRUNE_NETWORKS = _command(prune_networks, "Remove all unused networks", "until=<timestamp>")
PRUNE_VOLUMES = _command(
    prune_volumes,
    "Remove unused local volumes",
    "label=<label>",
    ("all", "a", "bool", "Remove all unused volumes, not just anonymous ones"),
)
PRUNE_IMAGES = _command(
    prune_images,
    "Remove unused images",
    "until=<timestamp>",
    ("all", "a", "bool", "Remove all unused images, not just dangling ones"),
)
PRUNE_BUILDER = _command(
    prune_builder,
    "Remove build cache",
    "until=24h",
    ("all", "a", "bool", "Remove all unused build cache, not just dangling ones"),
    ("keep-storage", "", "bytes", "Amount of disk space to keep for cache"),
)
PRUNE_SYSTEM = _command(
    prune_system,
    "Remove unused data",
    "label=<key>=<value>",
    ("all", "a", "bool", "Remove all unused images not just dangling ones"),
    ("volumes", "", "bool", "Prune anonymous volumes"),
)
