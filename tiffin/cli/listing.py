"""Lists of things: Docker's tables by default, ids with -q, and whatever `--format` asks for."""

from __future__ import annotations

from tiffin.cli.output import STDOUT, complain, say, terminal_size, write
from tiffin.cli.tables import align, fit, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from tiffin.cli.rows import Field, Record


FORMAT_HELP = """Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""


# Formats that -q overrides, where a command has both: a template of one's own stays.
PLAIN = ("", "table", "raw")

# Docker's old format `raw`, by what it calls a row.
RAW = {
    "formatter.ContainerContext": (
        "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\n"
        "created_at: {{.CreatedAt}}\nstate:{{pad .State 1 0}}\nstatus:{{pad .Status 1 0}}\n"
        "names: {{.Names}}\nlabels:{{pad .Labels 1 0}}\nports:{{pad .Ports 1 0}}\n"
    ),
    "formatter.imageContext": (
        "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\n"
        "created_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
    ),
    "formatter.volumeContext": "name: {{.Name}}\ndriver: {{.Driver}}\n",
    "network.networkContext": (
        "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n"
    ),
}


def show_list(
    records: Sequence[Record],
    fields: dict[str, Field],
    columns: Sequence[str],
    form: str = "",
    *,
    short: bool = True,
    kind: str = "",
) -> None:
    """Prints `records` as `columns` under their titles, or by the template `form`.

    `kind` is what Go calls a row of it, for messages about templates.
    """
    write(STDOUT, list_text(records, fields, columns, form, short=short, kind=kind))


def list_text(
    records: Sequence[Record],
    fields: dict[str, Field],
    columns: Sequence[str],
    form: str = "",
    *,
    short: bool = True,
    kind: str = "",
) -> bytes:
    """What `show_list` prints."""
    if form in ("", "table"):
        rows = [[fields[name][0] for name in columns]]
        rows += [[str(fields[name][1](each, short)) for name in columns] for each in records]
        width = terminal_size(STDOUT)[1]
        text = table(fit(rows, width) if width and short else rows) + "\n"
    else:
        text = _by_template(records, fields, form, short=short, kind=kind)
    return text.encode("utf-8", "surrogateescape")


def show_ids(records: Sequence[Record], read: Callable[[Record, bool], Any], short: bool) -> None:
    if records:
        say("\n".join(str(read(each, short)) for each in records))


def _by_template(
    records: Sequence[Record], fields: dict[str, Field], form: str, *, short: bool, kind: str
) -> str:
    from tiffin.cli.failures import CommandFailed
    from tiffin.cli.rows import Row, Titles
    from tiffin.cli.template.engine import HEADER_FUNCTIONS, TemplateError, parse

    if form == "raw" and kind in RAW:
        form = RAW[kind]
    is_table = form.startswith("table")
    source = "{{json .}}" if form == "json" else form.removeprefix("table") if is_table else form
    source = source.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    template = parse(source, code=1)
    try:
        lines = [template.render(Row(each, fields, short=short, kind=kind)) for each in records]
    except TemplateError as error:
        raise CommandFailed(f"template parsing error: {error}") from error
    if is_table:
        template.functions = HEADER_FUNCTIONS
        try:
            lines.insert(0, template.render(Titles(fields)))
        except TemplateError as error:  # Docker shows as much of the header as there is
            lines.insert(0, error.partial)
    text = "".join(f"{line}\n" for line in lines)
    return align(text) if is_table else text


def check_format(form: str, fields: dict[str, Field], kind: str) -> None:
    """CommandFailed for a template that could not even run over an empty row."""
    from tiffin.cli.failures import CommandFailed
    from tiffin.cli.rows import Blank
    from tiffin.cli.template.engine import TemplateError, parse

    template = parse(form, code=1, blame="failed to parse template")
    try:
        template.render(Blank(fields, kind))
    except TemplateError as error:
        raise CommandFailed(f"failed to execute template: {error}") from error


def warn_of_quiet(form: str) -> None:
    if form:
        complain("WARNING: Ignoring custom format, because both --format and --quiet are set.")


def parse_filter(text: str) -> tuple[str, str]:
    """`name=value`, as `--filter` takes it. ValueError in Docker's words."""
    name, equals, value = text.partition("=")
    if text and not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def filters_query(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The `filters` of a query; nothing where there are none."""
    found: dict[str, dict[str, bool]] = {}
    for name, value in pairs:
        if name or value:
            found.setdefault(name, {})[value] = True
    if not found:
        return {}
    from tiffin.cli.jsontext import encode

    ordered = {name: dict(sorted(found[name].items())) for name in sorted(found)}
    return {"filters": encode(ordered).decode()}


def labels_text(labels: dict[str, str] | None) -> str:
    return ",".join(sorted(f"{name}={value}" for name, value in (labels or {}).items()))
