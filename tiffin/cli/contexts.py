"""`context`: which daemons there are, and which one commands go to."""

from __future__ import annotations

import os

from tiffin.cli.contextstore import ContextStore, check_name, endpoint_of
from tiffin.cli.credentials import read_config, write_config
from tiffin.cli.failures import CommandFailed
from tiffin.cli.hosts import DEFAULT_CONTEXT
from tiffin.cli.jsontext import encode
from tiffin.cli.listing import FORMAT_HELP, show_list
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import complain, say
from tiffin.cli.surroundings import environment, read_file
from tiffin.cli.targeting import default_target
from tiffin.cli.wording import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tiffin.cli.client import Client
    from tiffin.cli.hosts import Target
    from tiffin.cli.rows import Field, Record

    Document = dict[str, Any]

_KEYS = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
_HOST_WINS = (
    "Warning: DOCKER_HOST environment variable overrides the active context. To use {}, either "
    "set the global --context flag, or unset DOCKER_HOST environment variable."
)
_SCHEMES = ("unix://", "tcp://", "ssh://", "npipe://", "fd://", "http://", "https://")


# -- what an endpoint is made of ------------------------------------------------------------------


def parse_endpoint(text: str) -> dict[str, str]:
    """`host=tcp://a:1,ca=~/ca.pem`. ValueError in pflag's words."""
    found = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word} must be formatted as key=value")
        found[name] = value
    return found


def _asked(arguments: Arguments) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in arguments.many("docker"):
        found |= each
    return found


def _endpoint(
    store: ContextStore, client: Client, asked: dict[str, str]
) -> tuple[Document, dict[str, bytes]]:
    """The endpoint and its TLS material. CommandFailed in Docker's words."""
    try:
        unknown = [key for key in asked if key not in (*_KEYS, "from", "host", "skip-tls-verify")]
        if unknown:
            raise CommandFailed(f"unrecognized config key: {unknown[0]}")
        if asked.get("from"):
            return _copied(store, client, asked["from"])
        tls = {_KEYS[key]: _read(asked[key]) for key in _KEYS if asked.get(key)}
        host = asked.get("host", "")
        if host and not host.startswith(_SCHEMES) and "://" not in host:
            raise CommandFailed(
                f"unable to apply docker endpoint options: unable to parse docker host `{host}`"
            )
        found: Document = {"Host": host} if host else {}
        return found | {"SkipTLSVerify": _skip(asked.get("skip-tls-verify", ""))}, tls
    except CommandFailed as error:
        raise CommandFailed(f"unable to create docker endpoint config: {error.message}") from error


def _skip(text: str) -> bool:
    from tiffin.cli.options import to_bool

    try:
        return to_bool(text) if text else False
    except ValueError as error:
        words = str(error).removeprefix("strconv.ParseBool: ")
        raise CommandFailed(f"skip-tls-verify: {words}") from error


def _read(path: str) -> bytes:
    whole = path.replace("~", environment("HOME") or "/root", 1) if path.startswith("~/") else path
    try:
        return read_file(whole)
    except OSError as error:
        raise CommandFailed(f"open {whole}: {(error.strerror or '').lower()}") from error


def _copied(store: ContextStore, client: Client, name: str) -> tuple[Document, dict[str, bytes]]:
    if name == DEFAULT_CONTEXT:
        return endpoint_of(_default(client)), {}
    return dict(endpoint_of(store.get(name))), store.tls(name)


def _default(client: Client) -> Document:
    target = _default_target(client)
    skip = target.tls is not None and not target.tls.verify
    return {
        "Name": DEFAULT_CONTEXT,
        "Metadata": {},
        "Endpoints": {"docker": {"Host": target.host, "SkipTLSVerify": skip}},
    }


def _default_target(client: Client) -> Target:
    try:
        return default_target({"host": client.host} if client.host else {})
    except CommandFailed as error:
        words = error.message.removeprefix("Failed to initialize: ")
        words = words.removeprefix("unable to resolve docker endpoint: ")
        raise CommandFailed(words) from error


def _default_files(client: Client) -> list[str]:
    """Names of the TLS files that the environment says."""
    tls = _default_target(client).tls
    if tls is None:
        return []
    known = (("ca.pem", tls.ca), ("cert.pem", tls.certificate), ("key.pem", tls.key))
    return [name for name, path in known if path]


# -- commands -------------------------------------------------------------------------------------


def create(client: Client, arguments: Arguments) -> None:
    (name,), store = arguments.words, ContextStore()
    check_name(name)
    if store.exists(name):
        raise CommandFailed(f'context "{name}" already exists')
    asked, source = _asked(arguments), arguments.text("from")
    description = arguments.text("description")
    metadata: Document = {}
    if source and asked:
        raise CommandFailed("cannot use --docker flag when --from is set")
    if source or not asked:
        # Without a word about it, a context is what the one in use is now.
        source = source or client.context
        metadata = dict(_named(store, client, source).get("Metadata") or {})
        endpoint, tls = _copied(store, client, source)
        if source == DEFAULT_CONTEXT and not description:
            description = _DEFAULT_DESCRIPTION
    else:
        endpoint, tls = _endpoint(store, client, asked)
    if description:
        metadata["Description"] = description
    document = {"Name": name, "Metadata": metadata, "Endpoints": {"docker": endpoint}}
    store.put(name, document, tls)
    say(name)
    complain(f'Successfully created context "{name}"')


_DEFAULT_DESCRIPTION = "Current DOCKER_HOST based configuration"


def update(client: Client, arguments: Arguments) -> None:
    (name,), store = arguments.words, ContextStore()
    if name == DEFAULT_CONTEXT:
        check_name(name)
    document = store.get(name)
    if arguments.text("description"):
        document["Metadata"] = dict(document.get("Metadata") or {})
        document["Metadata"]["Description"] = arguments.text("description")
    tls = None
    if asked := _asked(arguments):
        endpoint, tls = _endpoint(store, client, asked)
        document["Endpoints"] = dict(document.get("Endpoints") or {}) | {"docker": endpoint}
    store.put(name, document, tls)
    say(name)
    complain(f'Successfully updated context "{name}"')


def _named(store: ContextStore, client: Client, name: str) -> Document:
    return _default(client) if name == DEFAULT_CONTEXT else store.get(name)


def use(_: Client, arguments: Arguments) -> None:
    (name,), store = arguments.words, ContextStore()
    if name != DEFAULT_CONTEXT:
        store.get(name)
    config = read_config()
    before = config.pop("currentContext", "")
    if name != DEFAULT_CONTEXT:
        config["currentContext"] = name
    if name != (before or DEFAULT_CONTEXT):
        write_config(config)
    say(name)
    complain(f'Current context is now "{name}"')
    if name != DEFAULT_CONTEXT and environment("DOCKER_HOST"):
        complain(_HOST_WINS.format(f'"{name}"'))


def show(client: Client, _: Arguments) -> None:
    say(client.context)


def remove(client: Client, arguments: Arguments) -> None:
    store, errors = ContextStore(), []
    for name in arguments.words:
        if name == DEFAULT_CONTEXT:
            errors.append('context "default" cannot be removed')
        elif not arguments.flag("force") and not store.exists(name):
            errors.append(f'context "{name}" does not exist')
        elif not arguments.flag("force") and name == client.context:
            errors.append(f'context "{name}" is in use, set -f flag to force remove')
        else:
            store.remove(name)
            _forget(name)
            say(name)
    if errors:
        raise CommandFailed("\n".join(errors))


def _forget(name: str) -> None:
    config = read_config()
    if config.get("currentContext") == name:
        del config["currentContext"]
        write_config(config)


def _plain(key: str) -> Any:
    return lambda record, _: record[key]


FIELDS: dict[str, Field] = {
    "Name": ("NAME", _plain("Name")),
    "Current": ("CURRENT", _plain("Current")),
    "Description": ("DESCRIPTION", _plain("Description")),
    "DockerEndpoint": ("DOCKER ENDPOINT", _plain("DockerEndpoint")),
    "Error": ("ERROR", _plain("Error")),
}


def list_contexts(client: Client, arguments: Arguments) -> None:
    records = _records(client)
    if arguments.flag("quiet"):
        say("\n".join(each["Name"] for each in records))
        return
    form = arguments.text("format")
    if form in ("", "table"):
        for each in records:
            each["Name"] += " *" if each["Current"] else ""
            each["Description"] = ellipsis(each["Description"], 60)
            each["Error"] = ellipsis(each["Error"], 45)
    show_list(
        records,
        FIELDS,
        ("Name", "Description", "DockerEndpoint", "Error"),
        form,
        kind="formatter.clientContextContext",
    )
    if environment("DOCKER_HOST"):
        complain(_HOST_WINS.format("a context"))


def _records(client: Client) -> list[Record]:
    store, default = ContextStore(), _default(client)
    default["Metadata"] = {"Description": _DEFAULT_DESCRIPTION}
    found = [_record(default, client)]
    known = store.names()
    found += [_record(store.get(name), client) for name in known]
    if client.context not in (DEFAULT_CONTEXT, *known):
        try:
            store.get(client.context)
        except CommandFailed as error:
            record = _record({"Name": client.context}, client)
            found.append(record | {"Error": error.message})
    from tiffin.cli.sorting import natural

    return sorted(found, key=lambda record: natural(record["Name"]))


def _record(document: Document, client: Client) -> Record:
    return {
        "Name": document["Name"],
        "Current": document["Name"] == client.context,
        "Description": (document.get("Metadata") or {}).get("Description", ""),
        "DockerEndpoint": endpoint_of(document).get("Host", ""),
        "Error": "",
    }


def inspect(client: Client, arguments: Arguments) -> None:
    from tiffin.cli.documents import Document as Found
    from tiffin.cli.documents import show_documents

    store = ContextStore()

    def find(name: str) -> Found | CommandFailed:
        try:
            text = encode(_inspected(store, client, name))
        except CommandFailed as error:
            return error
        # Go writes JSON as if it went into a page.
        text = text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e")
        return Found(text, "context.contextWithTLSListing", has_raw=False)

    names = arguments.words or [client.context]
    show_documents(map(find, names), arguments.text("format"))


def _inspected(store: ContextStore, client: Client, name: str) -> Document:
    document = _named(store, client, name)
    files = store.tls_files(name) if name != DEFAULT_CONTEXT else _default_files(client)
    memory = "<IN MEMORY>"
    places = (
        (memory, memory)
        if name == DEFAULT_CONTEXT
        else (store.meta_directory(name), store.tls_directory(name))
    )
    return {
        "Name": name,
        "Metadata": document.get("Metadata") or {},
        "Endpoints": document.get("Endpoints") or {},
        "TLSMaterial": {"docker": files} if files else {},
        "Storage": {"MetadataPath": places[0], "TLSPath": places[1]},
    }


def export(client: Client, arguments: Arguments) -> None:
    from tiffin.cli.contextarchive import pack
    from tiffin.cli.output import STDOUT, is_terminal, write

    name, *rest = arguments.words
    store = ContextStore()
    document = _named(store, client, name)
    tls = {} if name == DEFAULT_CONTEXT else store.tls(name)
    data = pack(encode(document), tls)
    path = rest[0] if rest else f"{name}.dockercontext"
    if path == "-":
        if is_terminal(STDOUT):
            raise CommandFailed("cowardly refusing to export to a terminal, specify a file path")
        write(STDOUT, data)
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandFailed(f"open {path}: {(error.strerror or '').lower()}") from error
    with open(descriptor, "wb") as file:
        file.write(data)
    complain(f'Written file "{path}"')


def import_context(_: Client, arguments: Arguments) -> None:
    from tiffin.cli.contextarchive import LIMIT, unpack

    (name, path), store = arguments.words, ContextStore()
    check_name(name)
    if store.exists(name):
        raise CommandFailed(f'context "{name}" already exists')
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise CommandFailed(f"open {path}: {(error.strerror or '').lower()}") from error
    document, tls = unpack(data)
    store.put(name, document | {"Name": name}, tls)
    say(name)
    complain(f'Successfully imported context "{name}"')


def _exactly_one(name: str, command: Callable[[Client, Arguments], None]) -> Any:
    """cobra's own count, whose words differ from the CLI's."""

    def run(client: Client, arguments: Arguments) -> None:
        if len(arguments.words) != 1:
            raise CommandFailed(f"accepts 1 arg(s), received {len(arguments.words)}")
        command(client, arguments)

    run.__name__ = name
    return run


_DESCRIPTION = ("description", "", "string", "Description of the context")
_DOCKER = ("docker", "", "stringToString", "set the docker endpoint (default [])")
_DETAILS = """{}

Docker endpoint config:

NAME                DESCRIPTION
from                Copy named context's Docker endpoint configuration
host                Docker endpoint on which to connect
ca                  Trust certs signed only by this CA
cert                Path to TLS certificate file
key                 Path to TLS key file
skip-tls-verify     Skip TLS certificate validation"""

CREATE = Command(
    create,
    " [OPTIONS] CONTEXT",
    "Create a context",
    (_DESCRIPTION, _DOCKER, ("from", "", "string", "create context from a named context")),
    least=1,
    most=1,
    checks={"docker": parse_endpoint},
    details=_DETAILS.format("Create a context"),
)
UPDATE = Command(
    update,
    " [OPTIONS] CONTEXT",
    "Update a context",
    (_DESCRIPTION, _DOCKER),
    least=1,
    most=1,
    checks={"docker": parse_endpoint},
    details=_DETAILS.format("Update a context"),
)
EXPORT = Command(
    export,
    " [OPTIONS] CONTEXT [FILE|-]",
    "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    least=1,
    most=2,
)
IMPORT = Command(
    import_context,
    " CONTEXT FILE|-",
    "Import a context from a tar or zip file",
    least=2,
    most=2,
)
INSPECT = Command(
    inspect,
    " [OPTIONS] [CONTEXT] [CONTEXT...]",
    "Display detailed information on one or more contexts",
    (
        (
            "format",
            "f",
            "string",
            (
                "Format output using a custom template:\n"
                "'json':             Print in JSON format\n"
                "'TEMPLATE':         Print output using the given Go template."
            ),
        ),
    ),
)
LIST = Command(
    list_contexts,
    " [OPTIONS]",
    "List contexts",
    (
        ("format", "", "string", FORMAT_HELP),
        ("quiet", "q", "bool", "Only show context names"),
    ),
    most=0,
)
REMOVE = Command(
    remove,
    " CONTEXT [CONTEXT...]",
    "Remove one or more contexts",
    (("force", "f", "bool", "Force the removal of a context in use"),),
    least=1,
)
SHOW = Command(show, "", "Print the name of the current context", most=0)
USE = Command(_exactly_one("use", use), " CONTEXT", "Set the current docker context")
