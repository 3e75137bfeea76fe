"""What `docker logs --details` puts before each line: labels, environment and a tag, as asked for.

They are the same for all lines of a container, so they are made when the log is read. Options are
those of Docker's json-file driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote_plus

from tiffin.core.container import Container
from tiffin.errors import InvalidArgument

OPTIONS = frozenset({"labels", "env", "tag"})
_FIELD = re.compile(r"{{\s*\.(\w+)\s*}}")

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
    """Raises InvalidArgument for a tag that is no template of ours."""
    tag = options.get("tag", "")
    for name in _FIELD.findall(tag):
        if name not in _FIELDS:
            raise InvalidArgument(f"template: log-tag: no field {name} in a container")
    if "{{" in _FIELD.sub("", tag):
        raise InvalidArgument(f"template: log-tag: {tag}: only {{{{.Field}}}} is understood")


def extras(container: Container) -> dict[str, str]:
    options = container.host_config.log_config.config
    labels = container.config.labels or {}
    found = {name: labels[name] for name in _names(options, "labels") if name in labels}
    environment = dict(entry.partition("=")[::2] for entry in container.config.env or ())
    found |= {name: environment[name] for name in _names(options, "env") if name in environment}
    if tag := options.get("tag", ""):
        found["tag"] = _FIELD.sub(lambda match: _FIELDS[match[1]](container), tag)
    return found


def _names(options: dict[str, str], key: str) -> list[str]:
    return [name for name in options.get(key, "").split(",") if name]


def prefix(container: Container) -> bytes:
    """Before each line: `a=1,b=2 `, sorted, escaped as in a query; a blank where there is none."""
    pairs = sorted(extras(container).items())
    text = ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)
    return f"{text} ".encode()
