"""`ps`: the containers."""

from __future__ import annotations

import time

from tiffin.cli.listing import (
    FORMAT_HELP,
    RAW,
    check_format,
    filters_query,
    labels_text,
    parse_filter,
    show_ids,
    show_list,
    warn_of_quiet,
)
from tiffin.cli.options import Arguments, Command
from tiffin.cli.wording import age, ellipsis, go_quote, human_size, short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.cli.client import Client
    from tiffin.cli.rows import Field, Record

COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_VERDICT_WIDTH = 60


def identity(record: Record, short: bool) -> str:
    return short_id(record["Id"]) if short else str(record["Id"])


def familiar(image: str) -> str:
    return image.removeprefix("docker.io/").removeprefix("library/")


def image_name(record: Record, short: bool) -> str:
    image = str(record.get("Image", ""))
    if not image:
        return "<no image>"
    if not short:
        return image
    if short_id(image) == short_id(record.get("ImageID", "")):
        return short_id(image)
    return familiar(image.partition("@")[0]) if ":" in image or "@" in image else image


def names(record: Record, short: bool) -> str:
    found = [name[1:] for name in record.get("Names") or ()]
    if short:
        found = next(([name] for name in found if "/" not in name), found)
    return ",".join(found)


def command(record: Record, short: bool) -> str:
    text = record.get("Command", "")
    return go_quote(ellipsis(text, 20) if short else text)


def size(record: Record, _: bool) -> str:
    total = record.get("SizeRootFs", 0)
    own = human_size(record.get("SizeRw", 0), 3)
    return f"{own} (virtual {human_size(total, 3)})" if total > 0 else own


def mounts(record: Record, short: bool) -> str:
    found = [each.get("Name") or each.get("Source", "") for each in record.get("Mounts") or ()]
    return ",".join(ellipsis(name, 15) if short else name for name in found)


def ports(record: Record, _: bool = True) -> str:
    return ", ".join(_port_groups(record.get("Ports") or []))


def _port_groups(listed: list[Record]) -> Iterator[str]:
    """Neighbouring ports are one range where host and container agree on the number."""
    groups: dict[tuple[str, str], tuple[int, int]] = {}
    alone: list[str] = []
    for port in sorted(listed, key=_port_order):
        private, kind, address = port["PrivatePort"], port["Type"], port.get("IP", "")
        if address and port.get("PublicPort", 0) != private:
            alone.append(f"{_host_port(address, port['PublicPort'])}->{private}/{kind}")
            continue
        first, last = groups.get((address, kind), (private, private))
        if private > last + 1:
            yield _port_range(address, kind, first, last)
            first = private
        groups[address, kind] = (first, private)
    for (address, kind), (first, last) in groups.items():
        yield _port_range(address, kind, first, last)
    yield from alone


def _port_order(port: Record) -> tuple[int, str, int, str]:
    return port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]


def _host_port(address: str, port: object) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _port_range(address: str, kind: str, first: int, last: int) -> str:
    shown = f"{first}" if first == last else f"{first}-{last}"
    return f"{_host_port(address, shown)}->{shown}/{kind}" if address else f"{shown}/{kind}"


def verdict(record: Record, _: bool = True) -> str:
    """Why it ended, as our daemon tells it."""
    return str((record.get("Verdict") or {}).get("Text", ""))


def status(record: Record, _: bool) -> str:
    """In the table: with the verdict, unless the exit code says it all."""
    text = str(record.get("Status", ""))
    found = record.get("Verdict") or {}
    # `Exited (0) 2 hours ago`; what runs has no verdict, what did not start is `Created`.
    if not found or (found.get("By") == "program" and found.get("Cause") == "exit"):
        return text
    return f"{text}: {ellipsis(verdict(record), _VERDICT_WIDTH)}"


def created_at(record: Record, _: bool = True) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(record.get("Created", 0)))


def networks(record: Record, _: bool) -> str:
    return ",".join((record.get("NetworkSettings") or {}).get("Networks") or {})


def platform(record: Record, _: bool) -> object:
    """A thing of its own, which a template may look into."""
    from tiffin.cli.template.gotypes import type_of
    from tiffin.cli.template.govalues import Value

    found = (record.get("ImageManifestDescriptor") or {}).get("platform")
    return Value(type_of("*formatter.Platform"), found)


FIELDS: dict[str, Field] = {
    "ID": ("CONTAINER ID", identity),
    "Names": ("NAMES", names),
    "Image": ("IMAGE", image_name),
    "Command": ("COMMAND", command),
    "CreatedAt": ("CREATED AT", created_at),
    "RunningFor": ("CREATED", lambda record, _: age(time.time() - record["Created"]) + " ago"),
    "Ports": ("PORTS", ports),
    "State": ("STATE", lambda record, _: record.get("State", "")),
    "Status": ("STATUS", lambda record, _: record.get("Status", "")),
    "Verdict": ("VERDICT", verdict),
    "Size": ("SIZE", size),
    "Labels": ("LABELS", lambda record, _: labels_text(record.get("Labels"))),
    "Mounts": ("MOUNTS", mounts),
    "LocalVolumes": (
        "LOCAL VOLUMES",
        lambda record, _: str(
            sum(each.get("Driver") == "local" for each in record.get("Mounts") or ())
        ),
    ),
    "Networks": ("NETWORKS", networks),
    "Platform": ("PLATFORM", platform),
}


def ps(client: Client, arguments: Arguments) -> None:
    form, quiet = arguments.text("format"), arguments.flag("quiet")
    if quiet:
        warn_of_quiet(form)
    with_size = arguments.flag("size")
    if form and not quiet and not arguments.given("size"):
        with_size = ".Size" in form or _is_shown_whole(form)
    if form not in ("", "json", "table", "raw") and not quiet:
        check_format(form, FIELDS, "formatter.ContainerContext")
    query: dict[str, str] = {}
    if arguments.flag("all"):
        query["all"] = "1"
    last = arguments.number("last", -1)
    if last == -1 and arguments.flag("latest"):
        last = 1
    if last > 0:
        query["limit"] = str(last)
    if with_size:
        query["size"] = "1"
    query.update(filters_query(arguments.many("filter")))
    records = client.get("/containers/json", query)
    short = not arguments.flag("no-trunc")
    if quiet:
        show_ids(records, identity, short)
    else:
        columns = (*COLUMNS, "Size") if with_size else COLUMNS
        if form == "raw":
            form = RAW["formatter.ContainerContext"] + ("size: {{.Size}}\n" if with_size else "")
        # A template's .Status is Docker's: programs read it.
        fields = FIELDS | {"Status": ("STATUS", status)} if form in ("", "table") else FIELDS
        show_list(records, fields, columns, form, short=short, kind="formatter.ContainerContext")


def _is_shown_whole(form: str) -> bool:
    """`{{json .}}`. The plain `json` asks for no sizes, which take the daemon long."""
    return any(not rest[:1].isalpha() for rest in " ".join(form.split()).split("json .")[1:])


PS = Command(
    ps,
    " [OPTIONS]",
    "List containers",
    (
        ("all", "a", "bool", "Show all containers (default shows just running)"),
        ("filter", "f", "filter", "Filter output based on conditions provided"),
        ("format", "", "string", FORMAT_HELP),
        (
            "last",
            "n",
            "int",
            "Show n last created containers (includes all states) (default -1)",
        ),
        ("latest", "l", "bool", "Show the latest created container (includes all states)"),
        ("no-trunc", "", "bool", "Don't truncate output"),
        ("quiet", "q", "bool", "Only display container IDs"),
        ("size", "s", "bool", "Display total file sizes"),
    ),
    most=0,
    checks={"filter": parse_filter},
)
