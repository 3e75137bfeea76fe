"""`search`: images that a registry knows."""

from __future__ import annotations

from tiffin.cli.listing import FORMAT_HELP, filters_query, parse_filter, show_list
from tiffin.cli.options import Arguments, Command
from tiffin.cli.wording import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.client import Client
    from tiffin.cli.rows import Field, Record

_COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")


def _description(record: Record, short: bool) -> str:
    text = str(record.get("description") or "").replace("\n", " ").replace("\r", " ")
    return ellipsis(text, 45) if short else text


def _mark(key: str) -> Field:
    titles = {"is_official": "OFFICIAL", "is_automated": "AUTOMATED"}
    return titles[key], lambda record, _: "[OK]" if record.get(key) else ""


FIELDS: dict[str, Field] = {
    "Name": ("NAME", lambda record, _: record.get("name", "")),
    "Description": ("DESCRIPTION", _description),
    "StarCount": ("STARS", lambda record, _: str(record.get("star_count", 0))),
    "IsOfficial": _mark("is_official"),
    "IsAutomated": _mark("is_automated"),
}


def search(client: Client, arguments: Arguments) -> None:
    from tiffin.cli.credentials import auth_header

    (term,) = arguments.words
    domain, slash, _ = term.partition("/")
    registry = domain if slash and ("." in domain or ":" in domain) else "docker.io"
    query = {"term": term} | filters_query(arguments.many("filter"))
    if arguments.number("limit"):
        query["limit"] = str(arguments.number("limit"))
    answer = client.request("GET", "/images/search", query, headers=auth_header(registry))
    short = not arguments.flag("no-trunc")
    form = arguments.text("format")
    show_list(
        answer.document(), FIELDS, _COLUMNS, form, short=short, kind="formatter.searchContext"
    )


SEARCH = Command(
    search,
    " [OPTIONS] TERM",
    "Search Docker Hub for images",
    (
        ("filter", "f", "filter", "Filter output based on conditions provided"),
        ("format", "", "string", FORMAT_HELP),
        ("limit", "", "int", "Max number of search results"),
        ("no-trunc", "", "bool", "Don't truncate output"),
    ),
    least=1,
    most=1,
    checks={"filter": parse_filter},
)
