"""`volume create`, `ls`, `rm`."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.listing import (
    FORMAT_HELP,
    PLAIN,
    filters_query,
    labels_text,
    parse_filter,
    show_ids,
    show_list,
)
from tiffin.cli.optionchecks import check_label
from tiffin.cli.options import Arguments, Command, to_pair
from tiffin.cli.output import say
from tiffin.cli.sorting import natural
from tiffin.cli.targets import one_by_one, path_of
from tiffin.cli.wording import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client
    from tiffin.cli.rows import Field, Record


def _usage(record: Record, key: str) -> int | None:
    usage = record.get("UsageData")
    return None if usage is None else int(usage[key])


def _size(record: Record, _: bool) -> str:
    size = _usage(record, "Size")
    return "N/A" if size is None else human_size(size)


def _links(record: Record, _: bool) -> str:
    count = _usage(record, "RefCount")
    return "N/A" if count is None else str(count)


def name_of(record: Record, _: bool = True) -> str:
    return str(record["Name"])


FIELDS: dict[str, Field] = {
    "Name": ("VOLUME NAME", name_of),
    "Driver": ("DRIVER", lambda record, _: record["Driver"]),
    "Scope": ("SCOPE", lambda record, _: record.get("Scope", "")),
    "Mountpoint": ("MOUNTPOINT", lambda record, _: record.get("Mountpoint", "")),
    "Labels": ("LABELS", lambda record, _: labels_text(record.get("Labels"))),
    "Links": ("LINKS", _links),
    "Size": ("SIZE", _size),
    "Group": ("GROUP", lambda *_: "N/A"),
    "Availability": ("AVAILABILITY", lambda *_: "N/A"),
    "Status": ("STATUS", lambda *_: "N/A"),
}


def create(client: Client, arguments: Arguments) -> None:
    body: dict[str, object] = {"Driver": arguments.text("driver", "local")}
    names = arguments.words
    if names:
        if arguments.text("name") and arguments.text("name") != names[0]:
            raise CommandFailed(
                "conflicting options: cannot specify a volume-name through both --name "
                "and as a positional arg"
            )
        body["Name"] = names[0]
    elif arguments.text("name"):
        body["Name"] = arguments.text("name")
    if arguments.many("opt"):
        body["DriverOpts"] = dict(arguments.many("opt"))
    if arguments.many("label"):
        body["Labels"] = dict(to_pair(text) for text in arguments.many("label"))
    say(client.post("/volumes/create", None, body)["Name"])


def list_volumes(client: Client, arguments: Arguments) -> None:
    found = client.get("/volumes", filters_query(arguments.many("filter")))
    records = sorted(found.get("Volumes") or (), key=lambda record: natural(record["Name"]))
    form = arguments.text("format")
    if arguments.flag("quiet") and form in PLAIN:
        show_ids(records, name_of, short=True)
    else:
        columns = ("Driver", "Name")
        show_list(records, FIELDS, columns, form, kind="formatter.volumeContext")


def remove(client: Client, arguments: Arguments) -> None:
    query = {"force": "1"} if arguments.flag("force") else None

    def act(name: str) -> None:
        client.request("DELETE", path_of("volume", name), query).read()
        say(name)

    one_by_one(arguments.words, act)


CREATE = Command(
    create,
    " [OPTIONS] [VOLUME]",
    "Create a volume",
    (
        ("driver", "d", "string", 'Specify volume driver name (default "local")'),
        ("label", "", "list", "Set metadata for a volume"),
        ("name", "", "string", ""),
        ("opt", "o", "map", "Set driver specific options"),
    ),
    most=1,
    checks={"label": check_label, "opt": to_pair},
)
LIST = Command(
    list_volumes,
    " [OPTIONS]",
    "List volumes",
    (
        ("filter", "f", "filter", 'Provide filter values (e.g. "dangling=true")'),
        ("format", "", "string", FORMAT_HELP),
        ("quiet", "q", "bool", "Only display volume names"),
    ),
    most=0,
    checks={"filter": parse_filter},
)
REMOVE = Command(
    remove,
    " [OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes",
    (("force", "f", "bool", "Force the removal of one or more volumes"),),
    least=1,
    details="Remove one or more volumes. You cannot remove a volume that is in use by a container.",
)
