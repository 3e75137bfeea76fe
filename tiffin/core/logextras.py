"""What `docker logs --details` puts before each line: labels, environment and a tag, as asked for.

They are the same for all lines of a container, so they are made when the log is read; a json-file
has them as well, for others that read it. Options are those of Docker's json-file driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote_plus

import msgspec

from tiffin.core.container import Container
from tiffin.errors import InvalidArgument

OPTIONS = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_FIELD = re.compile(r"{{\s*\.(\w+)\s*}}")

_ESCAPED = {ord(one): f"\\u{ord(one):04x}" for one in "<>&"}  # by Go

_FIELDS: dict[str, Callable[[Container], str]] = {
    "ID": lambda container: container.short_id,
    "FullID": lambda container: container.id,
    "Name": lambda container: container.name,
    "ImageID": lambda container: container.image_id.removeprefix("sha256:")[:12],
    "ImageFullID": lambda container: container.image_id,
    "ImageName": lambda container: container.image_reference,
    "DaemonName": lambda _: "docker",
}


def check_extras(options: dict[str, str]) -> None:
    """Raises InvalidArgument for a tag that is no template of ours, or no regular expression."""
    for key in ("labels-regex", "env-regex"):
        _pattern(options, key)
    tag = options.get("tag", "")
    for name in _FIELD.findall(tag):
        if name not in _FIELDS:
            raise InvalidArgument(f"template: log-tag: no field {name} in a container")
    if "{{" in _FIELD.sub("", tag):
        raise InvalidArgument(f"template: log-tag: {tag}: only {{{{.Field}}}} is understood")


def extras(container: Container) -> dict[str, str]:
    options = container.host_config.log_config.config
    labels = container.config.labels or {}
    found = {name: labels[name] for name in _names(options, "labels", labels)}
    environment = dict(entry.partition("=")[::2] for entry in container.config.env or ())
    found |= {name: environment[name] for name in _names(options, "env", environment)}
    if options.get("tag"):
        found["tag"] = tag_of(container, "")
    return found


def attrs(container: Container) -> str:
    """What each record of its json-file says of them, as Go writes it; "" where there is none."""
    found = extras(container)
    text = msgspec.json.encode(dict(sorted(found.items()))).decode()
    return text.translate(_ESCAPED) if found else ""


def tag_of(container: Container, default: str) -> str:
    """The tag by its template, or by the driver's own."""
    template = container.host_config.log_config.config.get("tag") or default
    return _FIELD.sub(lambda match: _FIELDS[match[1]](container), template)


def _names(options: dict[str, str], key: str, there: dict[str, str]) -> list[str]:
    named = set(options.get(key, "").split(","))
    pattern = _pattern(options, f"{key}-regex")
    return [name for name in there if name in named or (pattern and pattern.search(name))]


def _pattern(options: dict[str, str], key: str) -> re.Pattern[str] | None:
    text = options.get(key, "")
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise InvalidArgument(f"log opt {key}: error parsing regexp: {error}: `{text}`") from error


def prefix(container: Container) -> bytes:
    """Before each line: `a=1,b=2 `, sorted, escaped as in a query; a blank where there is none."""
    pairs = sorted(extras(container).items())
    text = ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)
    return f"{text} ".encode()
