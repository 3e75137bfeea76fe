"""`system df`: what takes how much of the disk, and what of it could go."""

from __future__ import annotations

import time

from tiffin.cli import images as image_list
from tiffin.cli import ps as container_list
from tiffin.cli import volumes as volume_list
from tiffin.cli.failures import CommandFailed
from tiffin.cli.listing import FORMAT_HELP, show_list
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDOUT, say, write
from tiffin.cli.wording import age, human_size, short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tiffin.cli.client import Client
    from tiffin.cli.rows import Field, Record, Row

_COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
_TITLES = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
FIELDS: dict[str, Field] = {
    name: (title, lambda record, _, name=name: record[name])  # type: ignore[misc]
    for name, title in zip(_COLUMNS, _TITLES, strict=True)
}


def _line(kind: str, total: int, active: int, size: int, free: int, *, share: bool) -> Record:
    reclaimable = human_size(free)
    if share and size > 0:
        reclaimable += f" ({int(free * 100 / size)}%)"
    return dict(
        zip(_COLUMNS, (kind, str(total), str(active), human_size(size), reclaimable), strict=True)
    )


def summarise(found: dict[str, Any]) -> list[Record]:
    images = found.get("Images") or []
    layers = found.get("LayersSize", 0)
    in_use = [each for each in images if each.get("Containers", 0) > 0]
    kept = sum(
        each["Size"] - each.get("SharedSize", 0)
        for each in images
        if each.get("Containers", 0) != 0
        and each.get("Size", -1) != -1
        and each.get("SharedSize", -1) != -1
    )
    containers = found.get("Containers") or []
    alive = [each for each in containers if each["State"] in ("running", "paused", "restarting")]
    sizes = sum(each.get("SizeRw", 0) for each in containers)
    idle = sum(each.get("SizeRw", 0) for each in containers if each not in alive)
    volumes = [each for each in found.get("Volumes") or () if each.get("UsageData")]
    used = [each for each in volumes if each["UsageData"]["RefCount"] > 0]
    measured = [each["UsageData"] for each in volumes if each["UsageData"]["Size"] != -1]
    volume_size = sum(each["Size"] for each in measured)
    volume_free = sum(each["Size"] for each in measured if each["RefCount"] == 0)
    cache = found.get("BuildCache") or []
    cache_size = sum(each["Size"] for each in cache if not each.get("Shared"))
    busy = sum(each["Size"] for each in cache if each.get("InUse") and not each.get("Shared"))
    return [
        _line("Images", len(images), len(in_use), layers, layers - kept, share=True),
        _line("Containers", len(containers), len(alive), sizes, idle, share=True),
        _line("Local Volumes", len(volumes), len(used), volume_size, volume_free, share=True),
        _line(
            "Build Cache",
            len(cache),
            sum(bool(each.get("InUse")) for each in cache),
            cache_size,
            cache_size - busy,
            share=False,
        ),
    ]


def df(client: Client, arguments: Arguments) -> None:
    found = client.get("/system/df")
    form = arguments.text("format")
    if arguments.flag("verbose") and form not in ("", "table"):
        _verbose_by_template(found, form)
    elif arguments.flag("verbose"):
        _verbose(found)
    else:
        show_list(
            summarise(found),
            FIELDS,
            _COLUMNS,
            arguments.text("format"),
            kind="formatter.diskUsageImagesContext",
        )


def _verbose_by_template(found: dict[str, Any], form: str) -> None:
    """The lists of rows, whole. As Docker: without an end of line."""
    from tiffin.cli.template.engine import TemplateError, parse
    from tiffin.cli.template.gotypes import type_of
    from tiffin.cli.template.govalues import Value

    source = "{{json .}}" if form == "json" else form.strip(" ")
    template = parse(source.replace("\\t", "\t").replace("\\n", "\n"), code=1)
    try:
        text = template.render(Value(type_of("*formatter.diskUsageContext"), _details(found)))
    except TemplateError as error:
        write(STDOUT, error.partial.encode("utf-8", "surrogateescape"))
        raise CommandFailed(str(error)) from error
    write(STDOUT, text.encode("utf-8", "surrogateescape"))


def _details(found: dict[str, Any]) -> dict[str, list[Row]]:
    return {
        "Images": _rows(_image_rows(found), image_list.FIELDS, "imageContext"),
        "Containers": _rows(_container_rows(found), container_list.FIELDS, "ContainerContext"),
        "Volumes": _rows(found.get("Volumes") or (), volume_list.FIELDS, "volumeContext"),
        "BuildCache": _rows(found.get("BuildCache") or (), CACHE_FIELDS, "buildCacheContext"),
    }


def _rows(records: Iterable[Record], fields: dict[str, Field], kind: str) -> list[Row]:
    from tiffin.cli.rows import Row

    return [Row(record, fields, short=False, kind=f"formatter.{kind}") for record in records]


def _image_rows(found: dict[str, Any]) -> list[Record]:
    return [
        next(iter(image_list.rows([each], digests=False, every_digest=False))) | {"Digest": ""}
        for each in found.get("Images") or ()
    ]


def _container_rows(found: dict[str, Any]) -> list[Record]:
    return [{**each, "SizeRootFs": 0} for each in found.get("Containers") or ()]


def _verbose(found: dict[str, Any]) -> None:
    say("Images space usage:\n")
    rows = _image_rows(found)
    columns = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize")
    show_list(rows, image_list.FIELDS, (*columns, "Containers"))
    say("\nContainers space usage:\n")
    containers = _container_rows(found)
    columns = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status")
    show_list(containers, container_list.FIELDS, (*columns, "Names"))
    say("\nLocal Volumes space usage:\n")
    show_list(found.get("Volumes") or (), volume_list.FIELDS, ("Name", "Links", "Size"))
    cache = found.get("BuildCache") or []
    total = sum(each["Size"] for each in cache if not each.get("Shared"))
    say(f"\nBuild cache usage: {human_size(total)}\n")
    show_list(cache, CACHE_FIELDS, _CACHE_COLUMNS)


def _since(record: Record, key: str) -> str:
    from tiffin.cli.moments import parse_rfc3339

    if not record.get(key):
        return ""
    return age(time.time() - parse_rfc3339(record[key])) + " ago"


def _cache_id(record: Record, short: bool) -> str:
    identity = short_id(record["ID"]) if short else str(record["ID"])
    return identity + "*" * bool(record.get("InUse"))


CACHE_FIELDS: dict[str, Field] = {
    "ID": ("CACHE ID", _cache_id),
    "CacheType": ("CACHE TYPE", lambda record, _: record.get("Type", "")),
    "Size": ("SIZE", lambda record, _: human_size(record["Size"], 3)),
    "CreatedSince": ("CREATED", lambda record, _: _since(record, "CreatedAt")),
    "LastUsedSince": ("LAST USED", lambda record, _: _since(record, "LastUsedAt")),
    "UsageCount": ("USAGE", lambda record, _: str(record.get("UsageCount", 0))),
    "Shared": ("SHARED", lambda record, _: str(bool(record.get("Shared"))).lower()),
    "Description": ("DESCRIPTION", lambda record, _: record.get("Description", "")),
    "CreatedAt": ("CREATED AT", lambda record, _: record.get("CreatedAt", "")),
    "LastUsedAt": ("LAST USED AT", lambda record, _: record.get("LastUsedAt", "")),
    "InUse": ("IN USE", lambda record, _: str(bool(record.get("InUse"))).lower()),
    "Parent": ("PARENT", lambda record, _: record.get("Parent", "")),
}
_CACHE_COLUMNS = tuple("ID CacheType Size CreatedSince LastUsedSince UsageCount Shared".split())

DF = Command(
    df,
    " [OPTIONS]",
    "Show disk usage",
    (
        ("format", "", "string", FORMAT_HELP),
        ("verbose", "v", "bool", "Show detailed information on space usage"),
    ),
    most=0,
)
