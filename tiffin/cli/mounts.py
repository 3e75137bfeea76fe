"""Options that are lists of fields: `--mount type=bind,src=...`, `--network name=...`, `--gpus`."""

from __future__ import annotations

from tiffin.cli.options import to_bool, to_pair
from tiffin.cli.quantities import parse_size
from tiffin.cli.surroundings import absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def split_fields(text: str) -> list[str]:
    """Comma-separated; a field in double quotes keeps its commas, two quotes in it are one.

    ValueError in the words of Go's encoding/csv.
    """
    if not text:
        raise ValueError("EOF")
    fields, rest = [], text
    while True:
        begun = len(text) - len(rest)
        if rest.startswith('"'):
            field, rest = _quoted(rest, begun)
        else:
            end = rest.find(",")
            field, rest = (rest, "") if end < 0 else (rest[:end], rest[end:])
            if '"' in field:
                column = begun + field.index('"') + 1
                raise ValueError(
                    f'parse error on line 1, column {column}: bare " in non-quoted-field'
                )
        fields.append(field)
        if not rest:
            return fields
        rest = rest[1:]


def _quoted(text: str, begun: int) -> tuple[str, str]:
    """The field that `text` begins with, and what is left; it begins after `begun` characters."""
    field, position = "", 1
    while position < len(text):
        if text.startswith('""', position):
            field += '"'
            position += 2
        elif text[position] == '"':
            rest = text[position + 1 :]
            if rest and not rest.startswith(","):
                break
            return field, rest
        else:
            field += text[position]
            position += 1
    column = begun + position + 1
    raise ValueError(
        f'parse error on line 1, column {column}: extraneous or missing " in quoted-field'
    )


class _Mount:
    def __init__(self) -> None:
        self.body: dict[str, Any] = {"Type": "volume"}

    def options(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = self.body.setdefault(kind, {})
        return found

    def volume(self) -> dict[str, Any]:
        found = self.options("VolumeOptions")
        found.setdefault("DriverConfig", {})
        return found

    def take_word(self, word: str) -> None:
        """A field without a value."""
        if word in ("readonly", "ro"):
            self.body["ReadOnly"] = True
        elif word == "volume-nocopy":
            self.volume()["NoCopy"] = True
        elif word == "bind-nonrecursive":
            self.options("BindOptions")["NonRecursive"] = True
        else:
            raise ValueError(f"invalid field '{word}' must be a key=value pair")

    def take(self, key: str, value: str, field: str) -> None:
        if key == "type":
            self.body["Type"] = value.lower()
        elif key in ("source", "src"):
            self.body["Source"] = absolute(value) if value.startswith(".") else value
        elif key in ("target", "dst", "destination"):
            self.body["Target"] = value
        elif key in ("readonly", "ro"):
            self.body["ReadOnly"] = _truth(key, value)
        elif key == "consistency":
            self.body["Consistency"] = value.lower()
        elif key.startswith("bind-"):
            self.take_bind(key, value, field)
        elif key.startswith("volume-"):
            self.take_volume(key, value, field)
        elif key == "image-subpath":
            self.options("ImageOptions")["Subpath"] = value
        elif key.startswith("tmpfs-"):
            self.take_tmpfs(key, value, field)
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")

    def take_bind(self, key: str, value: str, field: str) -> None:
        options = self.options("BindOptions")
        if key == "bind-propagation":
            options["Propagation"] = value.lower()
        elif key == "bind-nonrecursive":
            options["NonRecursive"] = _truth(key, value)
        elif key == "bind-recursive":
            names = {
                "enabled": "",
                "disabled": "NonRecursive",
                "writable": "ReadOnlyNonRecursive",
                "readonly": "ReadOnlyForceRecursive",
            }
            if value not in names:
                raise ValueError(
                    f"invalid value for {key}: {value} "
                    '(must be "enabled", "disabled", "writable", or "readonly")'
                )
            if names[value]:
                options[names[value]] = True
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")

    def take_volume(self, key: str, value: str, field: str) -> None:
        options = self.volume()
        name, _, setting = value.partition("=")
        if key == "volume-subpath":
            options["Subpath"] = value
        elif key == "volume-nocopy":
            options["NoCopy"] = _truth(key, value)
        elif key == "volume-label":
            options.setdefault("Labels", {})[name] = setting
        elif key == "volume-driver":
            options["DriverConfig"]["Name"] = value
        elif key == "volume-opt":
            options["DriverConfig"].setdefault("Options", {})[name] = setting
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")

    def take_tmpfs(self, key: str, value: str, field: str) -> None:
        try:
            if key == "tmpfs-size":
                self.options("TmpfsOptions")["SizeBytes"] = parse_size(value)
            elif key == "tmpfs-mode":
                self.options("TmpfsOptions")["Mode"] = int(value, 8)
            else:
                raise KeyError(key)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
        except KeyError:
            raise ValueError(f"unexpected key '{key}' in '{field}'") from None

    def check(self) -> None:
        kind = self.body["Type"]
        if not kind:
            raise ValueError("type is required")
        if not self.body.get("Target"):
            raise ValueError("target is required")
        for name in ("volume", "image", "bind", "tmpfs"):
            if f"{name.title()}Options" in self.body and kind != name:
                raise ValueError(f"cannot mix '{name}-*' options with mount type '{kind}'")
        self.check_recursion()

    def check_recursion(self) -> None:
        options = self.body.get("BindOptions", {})
        read_only = self.body.get("ReadOnly")
        for word, key in (
            ("writable", "ReadOnlyNonRecursive"),
            ("readonly", "ReadOnlyForceRecursive"),
        ):
            if options.get(key) and not read_only:
                raise ValueError(
                    f"option 'bind-recursive={word}' requires 'readonly' "
                    "to be specified in conjunction"
                )
        if options.get("ReadOnlyForceRecursive") and options.get("Propagation") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' "
                "to be specified in conjunction"
            )


def _truth(key: str, value: str) -> bool:
    try:
        return to_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def parse_mount(text: str) -> dict[str, Any]:
    mount = _Mount()
    for field in split_fields(text):
        key, equals, value = field.partition("=")
        if equals:
            mount.take(key.lower(), value, field)
        else:
            mount.take_word(key.lower())
    mount.check()
    return {key: value for key, value in mount.body.items() if value not in ("", False)}


def parse_network(text: str) -> dict[str, Any]:
    """`name=net,alias=web,ip=...` as a dict of those keys."""
    found: dict[str, Any] = {}
    for field in split_fields(text):
        key, equals, value = (part.strip() for part in field.lower().partition("="))
        if not equals or not key:
            raise ValueError(f"invalid field {field}")
        if key in ("alias", "link-local-ip"):
            found.setdefault(key, []).append(value)
        elif key == "driver-opt":
            name, found_equals, setting = value.partition("=")
            if not found_equals or not name:
                raise ValueError("invalid key value pair format in driver options")
            found.setdefault(key, {})[name.strip()] = setting.strip()
        elif key == "gw-priority":
            try:
                found[key] = int(value)
            except ValueError:
                raise ValueError(f"invalid gw-priority ({value}): invalid syntax") from None
        elif key in ("name", "ip", "ip6", "mac-address"):
            found[key] = value
        else:
            raise ValueError(f"invalid field key {key}")
    if not found.get("name"):
        raise ValueError("network name/id is not specified")
    return found


def parse_gpus(text: str) -> dict[str, Any]:
    """`all`, a number, or `driver=...,device=...,capabilities=...`."""
    request: dict[str, Any] = {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": None,
        "Capabilities": [["gpu"]],
        "Options": {},
    }
    seen = set()
    for field in split_fields(text):
        key, equals, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not equals:
            key, value = "count", field
            seen.add(key)
        if key == "driver":
            request["Driver"] = value
        elif key == "count":
            request["Count"] = _count(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = dict(to_pair(word) for word in split_fields(value))
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and not request["DeviceIDs"]:
        request["Count"] = 1
    return request


def _count(text: str) -> int:
    if text == "all":
        return -1
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
        ) from None
