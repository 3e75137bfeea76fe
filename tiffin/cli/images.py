"""`images`, `rmi`, `tag`, `history`."""

from __future__ import annotations

import time

from tiffin.cli.failures import CommandFailed, DaemonAnswered
from tiffin.cli.listing import (
    FORMAT_HELP,
    PLAIN,
    RAW,
    filters_query,
    parse_filter,
    show_ids,
    show_list,
)
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import complain, say
from tiffin.cli.targets import image_path
from tiffin.cli.wording import age, ellipsis, human_size, short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tiffin.cli.client import Client
    from tiffin.cli.rows import Field, Record

NONE = "<none>"
COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_EPOCH = 946684800  # 2000-01-01: dates before it say only that there is none


def identity(record: Record, short: bool) -> str:
    return short_id(record["Id"]) if short else str(record["Id"])


def familiar(reference: str) -> str:
    return reference.removeprefix("docker.io/").removeprefix("library/")


def rows(images: list[Record], *, digests: bool, every_digest: bool) -> Iterator[Record]:
    """A record for each name of each image, with its Repository, Tag and Digest."""
    for image in images:
        tags = _by_repository(image.get("RepoTags"), ":")
        names = _by_repository(image.get("RepoDigests"), "@")
        if not tags and not names:
            yield {**image, "Repository": NONE, "Tag": NONE, "Digest": NONE}
        for repository, found in tags.items():
            theirs = names.pop(repository, []) if digests else (names.pop(repository, None), [])[1]
            for tag in found:
                for digest in theirs or [NONE]:
                    yield {**image, "Repository": repository, "Tag": tag, "Digest": digest}
        for repository, found in names.items():
            for digest in found if every_digest else [""]:
                yield {**image, "Repository": repository, "Tag": NONE, "Digest": digest}


def _by_repository(references: list[str] | None, separator: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for reference in references or ():
        repository, _, rest = reference.rpartition(separator)
        if repository != NONE:
            found.setdefault(familiar(repository), []).append(rest)
    return found


def since(record: Record, _: bool = True) -> str:
    return age(time.time() - record["Created"]) + " ago"


def _count(record: Record, key: str) -> str:
    return "N/A" if record.get(key, -1) == -1 else human_size(record[key])


FIELDS: dict[str, Field] = {
    "ID": ("IMAGE ID", identity),
    "Repository": ("REPOSITORY", lambda record, _: record["Repository"]),
    "Tag": ("TAG", lambda record, _: record["Tag"]),
    "Digest": ("DIGEST", lambda record, _: record["Digest"]),
    "CreatedSince": ("CREATED", since),
    "CreatedAt": (
        "CREATED AT",
        lambda record, _: time.strftime(
            "%Y-%m-%d %H:%M:%S %z %Z", time.localtime(record["Created"])
        ),
    ),
    "Size": ("SIZE", lambda record, _: human_size(record["Size"], 3)),
    "Containers": (
        "CONTAINERS",
        lambda record, _: (
            "N/A" if record.get("Containers", -1) == -1 else str(record["Containers"])
        ),
    ),
    "VirtualSize": ("SIZE", lambda record, _: human_size(record["Size"])),
    "SharedSize": ("SHARED SIZE", lambda record, _: _count(record, "SharedSize")),
    "UniqueSize": (
        "UNIQUE SIZE",
        lambda record, _: (
            "N/A"
            if record.get("SharedSize", -1) == -1
            else human_size(record["Size"] - record["SharedSize"])
        ),
    ),
}


def images(client: Client, arguments: Arguments) -> None:
    filters = arguments.many("filter")
    if arguments.words:
        filters.append(("reference", arguments.words[0]))
    query = {"all": "1"} if arguments.flag("all") else {}
    form, digests = arguments.text("format"), arguments.flag("digests")
    found = client.get("/images/json", query | filters_query(filters))
    # Newest first, as the daemon sorts them; the names of one image in their order.
    records = list(rows(found, digests=digests or ".Digest" in form, every_digest=digests))
    short = not arguments.flag("no-trunc")
    if arguments.flag("quiet") and form in PLAIN:
        show_ids(records, identity, short)
        return
    columns = (*COLUMNS[:2], "Digest", *COLUMNS[2:]) if digests else COLUMNS
    if form == "raw" and digests:
        form = RAW["formatter.imageContext"].replace("image_id", "digest: {{.Digest}}\nimage_id")
    show_list(records, FIELDS, columns, form, short=short, kind="formatter.imageContext")


def remove(client: Client, arguments: Arguments) -> None:
    force = arguments.flag("force")
    query: dict[str, Any] = {"force": "1"} if force else {}
    if arguments.flag("no-prune"):
        query["noprune"] = "1"
    if arguments.many("platform"):
        from tiffin.cli.platforms import platform_json

        named = [each for text in arguments.many("platform") for each in text.split(",")]
        query["platforms"] = [platform_json(each) for each in named]
    errors: list[DaemonAnswered] = []
    for name in arguments.words:
        try:
            done = client.request("DELETE", image_path(name), query).document()
        except DaemonAnswered as error:
            errors.append(error)
            continue
        for each in done:
            deleted = each.get("Deleted")
            say(f"Deleted: {deleted}" if deleted else f"Untagged: {each['Untagged']}")
    if not errors:
        return
    text = "\n".join(error.message for error in errors)
    if not force or any(error.status != 404 for error in errors):
        raise CommandFailed(text)
    complain(text)


def tag(client: Client, arguments: Arguments) -> None:
    from tiffin.cli.names import parse_name

    source, target = arguments.words
    try:
        name = parse_name(target)
    except CommandFailed as error:
        raise CommandFailed(
            f'Error parsing reference: "{target}" is not a valid repository/tag: {error.message}'
        ) from error
    if name.digest:
        raise CommandFailed("refusing to create a tag with a digest reference")
    if not source.strip():
        problem = "is not a valid repository/tag: invalid reference format"
        raise CommandFailed(f'Error parsing reference: "{source}" {problem}')
    query = {"repo": name.repository, "tag": name.tag or "latest"}
    client.request("POST", image_path(source, "tag"), query).read()


def _history_created(record: Record, _: bool = True) -> str:
    return "N/A" if record["Created"] <= _EPOCH else since(record)


def _history_date(record: Record, _: bool = True) -> str:
    zone = time.strftime("%z", time.localtime(record["Created"]))
    shown = "Z" if zone in ("", "+0000") else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record["Created"])) + shown


def _created_by(record: Record, short: bool) -> str:
    text = record["CreatedBy"].replace("\t", " ")
    return ellipsis(text, 45) if short else text


def _history_fields(*, human: bool) -> dict[str, Field]:
    return {
        "ID": ("IMAGE", identity),
        "CreatedSince": ("CREATED", _history_created if human else _history_date),
        "CreatedAt": ("CREATED AT", _history_date),
        "CreatedBy": ("CREATED BY", _created_by),
        "Size": (
            "SIZE",
            lambda record, _: human_size(record["Size"], 3) if human else str(record["Size"]),
        ),
        "Comment": ("COMMENT", lambda record, _: record["Comment"]),
    }


def history(client: Client, arguments: Arguments) -> None:
    query: dict[str, str] = {}
    if arguments.text("platform"):
        from tiffin.cli.platforms import platform_json

        query["platform"] = platform_json(arguments.text("platform"), "invalid platform: ")
    records = client.get(image_path(arguments.words[0], "history"), query)
    short = not arguments.flag("no-trunc")
    form = arguments.text("format")
    if arguments.flag("quiet") and form in PLAIN:
        show_ids(records, identity, short)
        return
    human = arguments.flag("human", default=True)
    columns = ("ID", "CreatedSince" if human else "CreatedAt", "CreatedBy", "Size", "Comment")
    fields = _history_fields(human=human)
    show_list(records, fields, columns, form, short=short, kind="image.historyContext")


IMAGES = Command(
    images,
    " [OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    (
        ("all", "a", "bool", "Show all images (default hides intermediate images)"),
        ("digests", "", "bool", "Show digests"),
        ("filter", "f", "filter", "Filter output based on conditions provided"),
        ("format", "", "string", FORMAT_HELP),
        ("no-trunc", "", "bool", "Don't truncate output"),
        ("quiet", "q", "bool", "Only show image IDs"),
    ),
    most=1,
    checks={"filter": parse_filter},
)
RMI = Command(
    remove,
    " [OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    (
        ("force", "f", "bool", "Force removal of the image"),
        ("no-prune", "", "bool", "Do not delete untagged parents"),
        (
            "platform",
            "",
            "strings",
            'Remove only the given platform variant ("os[/arch[/variant]]")',
        ),
    ),
    least=1,
)
TAG = Command(
    tag,
    " SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    least=2,
    most=2,
)
HISTORY = Command(
    history,
    " [OPTIONS] IMAGE",
    "Show the history of an image",
    (
        ("format", "", "string", FORMAT_HELP),
        (
            "human",
            "H",
            "bool",
            "Print sizes and dates in human readable format (default true)",
        ),
        ("no-trunc", "", "bool", "Don't truncate output"),
        (
            "platform",
            "",
            "string",
            'Show history for the given platform ("os[/arch[/variant]]")',
        ),
        ("quiet", "q", "bool", "Only show image IDs"),
    ),
    least=1,
    most=1,
)
