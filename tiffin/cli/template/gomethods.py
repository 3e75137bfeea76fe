"""Methods of the API's types that a template can call: `.HostConfig.NetworkMode.IsHost`."""

from __future__ import annotations

from tiffin.cli.template.gotimes import Moment, show_duration
from tiffin.cli.template.gotypes import Type, type_of
from tiffin.cli.template.govalues import (
    Fields,
    Value,
    boolean,
    find_field,
    follow,
    get_field,
    number,
    pointed,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # Types of the arguments, and what makes the result of the receiver and them.
    Method = tuple[tuple[str, ...], "Callable[..., Value | None]"]


def _of(kind: Callable[[Any], Value], function: Callable[[Any], Any]) -> Method:
    """A method without arguments, by the receiver's data."""
    return (), lambda it: kind(function(it.data))


def _bool(function: Callable[[Any], bool]) -> Method:
    return _of(boolean, function)


def _is(*words: str) -> Method:
    return _bool(lambda it: it in words)


def _other(mode: str) -> str | None:
    """The container that `container:x` names."""
    kind, colon, name = mode.partition(":")
    return name if colon and kind == "container" else None


_CONTAINER: dict[str, Method] = {"IsContainer": _bool(lambda it: _other(it) is not None)}
_NAME_OF_CONTAINER = _of(text, lambda it: _other(it) or "")
_NETWORKS = ("default", "bridge", "host", "none")


def _is_own_network(mode: str) -> bool:
    return mode not in _NETWORKS and _other(mode) is None


def _network_name(mode: str) -> str:
    if _other(mode) is not None:
        return "container"
    return mode if mode in _NETWORKS or _is_own_network(mode) else ""


def _port_number(port: str) -> str:
    return port.partition("/")[0]


def _protocol(port: str) -> str:
    first, _, rest = port.partition("/")
    return (rest.split("/")[0] or "tcp") if first else ""


def _as_number(digits: str) -> int:
    return int(digits) if digits.isdecimal() and int(digits) < 65536 else 0


def _policy(*names: str) -> Method:
    return (), lambda it: boolean(_named(it) in names)


def _named(policy: Value) -> str:
    return str(_field(policy, "Name").data)


def _field(value: Value, name: str) -> Value:
    while value.kind == "pointer":
        value = pointed(value)
    return next(get_field(value, each) for each in value.type.fields if each.name == name)


def _same_policy(one: Value, other: Value) -> Value:
    names = ("Name", "MaximumRetryCount")
    return boolean(all(_field(one, name).data == _field(other, name).data for name in names))


def _string_of(*names: str, form: str) -> Method:
    """A String() that writes fields of a struct."""
    return (), lambda it: text(form.format(*(_field(it, name).data for name in names)))


def _part_of_moment(kind: Callable[[Any], Value], function: Callable[[Moment], Any]) -> Method:
    return (), lambda it: kind(function(Moment(it.data)))


def _moment(moment: Moment) -> Value:
    return Value(type_of("time.Time"), moment.rfc3339())


def _here(moment: Moment) -> Moment:
    import time

    return moment.in_zone(time.localtime(moment.seconds).tm_gmtoff)


def _mode_of_file(mode: int) -> str:
    letters = "rwxrwxrwx"
    return "-" + "".join(
        letter if mode >> (8 - place) & 1 else "-" for place, letter in enumerate(letters)
    )


def _platform(platform: Value) -> str:
    found = {name: str(follow(platform, find_field(platform.type, name)).data) for name in _PARTS}
    if not found["OS"]:
        return "unknown"
    version = f"({found['OSVersion']})" if found["OSVersion"] else ""
    parts = (found["OS"] + version, found["Architecture"], found["Variant"])
    return "/".join(filter(None, parts))


_PARTS = ("OS", "OSVersion", "Architecture", "Variant")

_TIME: dict[str, Method] = {
    "String": _part_of_moment(text, str),
    "Format": (("string",), lambda it, layout: text(Moment(it.data).format(layout.data))),
    "IsZero": _part_of_moment(boolean, lambda it: it.is_zero),
    "Unix": _part_of_moment(lambda it: Value(type_of("int64"), it), lambda it: it.seconds),
    "UnixNano": _part_of_moment(
        lambda it: Value(type_of("int64"), it), lambda it: it.seconds * 10**9 + it.nanoseconds
    ),
    "Year": _part_of_moment(number, lambda it: it.year),
    "Day": _part_of_moment(number, lambda it: it.day),
    "Hour": _part_of_moment(number, lambda it: it.hour),
    "Minute": _part_of_moment(number, lambda it: it.minute),
    "Second": _part_of_moment(number, lambda it: it.second),
    "Nanosecond": _part_of_moment(number, lambda it: it.nanoseconds),
    "UTC": _part_of_moment(_moment, lambda it: it.in_zone(0)),
    "Local": _part_of_moment(_moment, _here),
}
_FLOAT_SECONDS = 1_000_000_000
_DURATION: dict[str, Method] = {
    "String": _of(text, show_duration),
    "Nanoseconds": _of(lambda it: Value(type_of("int64"), it), int),
    "Microseconds": _of(lambda it: Value(type_of("int64"), it), lambda it: it // 1000),
    "Milliseconds": _of(lambda it: Value(type_of("int64"), it), lambda it: it // 1_000_000),
    "Seconds": _of(lambda it: Value(type_of("float64"), it), lambda it: it / _FLOAT_SECONDS),
    "Minutes": _of(lambda it: Value(type_of("float64"), it), lambda it: it / 60 / _FLOAT_SECONDS),
    "Hours": _of(lambda it: Value(type_of("float64"), it), lambda it: it / 3600 / _FLOAT_SECONDS),
}
_HOST: dict[str, Method] = {"IsHost": _is("host"), "IsPrivate": _bool(lambda it: it != "host")}
_METHODS: dict[str, dict[str, Method]] = {
    "container.NetworkMode": {
        **_CONTAINER,
        "IsNone": _is("none"),
        "IsDefault": _is("default"),
        "IsBridge": _is("bridge"),
        "IsHost": _is("host"),
        "IsPrivate": _bool(lambda it: it != "host" and _other(it) is None),
        "IsUserDefined": _bool(_is_own_network),
        "UserDefined": _of(text, lambda it: it if _is_own_network(it) else ""),
        "NetworkName": _of(text, _network_name),
        "ConnectedContainer": _NAME_OF_CONTAINER,
    },
    "container.IpcMode": {
        **_CONTAINER,
        "IsPrivate": _is("private"),
        "IsHost": _is("host"),
        "IsShareable": _is("shareable"),
        "IsNone": _is("none"),
        "IsEmpty": _is(""),
        "Valid": _bool(
            lambda it: it in ("", "none", "private", "host", "shareable") or _other(it) is not None
        ),
        "Container": _NAME_OF_CONTAINER,
    },
    "container.PidMode": {
        **_CONTAINER,
        "IsHost": _is("host"),
        "IsPrivate": _bool(lambda it: it != "host" and _other(it) is None),
        "Valid": _bool(lambda it: it in ("", "host") or bool(_other(it))),
        "Container": _NAME_OF_CONTAINER,
    },
    "container.CgroupSpec": {
        **_CONTAINER,
        "Valid": _bool(lambda it: it == "" or _other(it) is not None),
        "Container": _NAME_OF_CONTAINER,
    },
    "container.UTSMode": {**_HOST, "Valid": _is("", "host")},
    "container.UsernsMode": {**_HOST, "Valid": _is("", "host")},
    "container.CgroupnsMode": {
        "IsPrivate": _is("private"),
        "IsHost": _is("host"),
        "IsEmpty": _is(""),
        "Valid": _is("", "private", "host"),
    },
    "container.Isolation": {
        "IsDefault": _bool(lambda it: it.lower() in ("", "default")),
        "IsHyperV": _bool(lambda it: it.lower() == "hyperv"),
        "IsProcess": _bool(lambda it: it.lower() == "process"),
        "IsValid": _bool(lambda it: it.lower() in ("", "default")),
    },
    "container.RestartPolicy": {
        "IsNone": _policy("", "no"),
        "IsAlways": _policy("always"),
        "IsOnFailure": _policy("on-failure"),
        "IsUnlessStopped": _policy("unless-stopped"),
        "IsSame": (("*container.RestartPolicy",), _same_policy),
    },
    "nat.Port": {
        "Port": _of(text, _port_number),
        "Proto": _of(text, _protocol),
        "Int": _of(number, lambda it: _as_number(_port_number(it))),
    },
    "digest.Digest": {
        "String": _of(text, str),
        "Encoded": _of(text, lambda it: it.partition(":")[2]),
        "Hex": _of(text, lambda it: it.partition(":")[2]),
    },
    "json.Number": {"String": _of(text, str)},
    "os.FileMode": {"String": _of(text, _mode_of_file)},
    "formatter.Platform": {"String": ((), lambda it: text(_platform(it)))},
    "swarm.Version": {"String": _string_of("Index", form="{}")},
    "time.Time": _TIME,
    "time.Duration": _DURATION,
}
# Methods of pointers: a value that is printed by itself is not printed by these.
_OF_POINTERS: dict[str, dict[str, Method]] = {
    "registry.NetIPNet": {"String": _of(text, str)},
    "units.Ulimit": {"String": _string_of("Name", "Soft", "Hard", form="{}={}:{}")},
    "blkiodev.WeightDevice": {"String": _string_of("Path", "Weight", form="{}:{}")},
    "blkiodev.ThrottleDevice": {"String": _string_of("Path", "Rate", form="{}:{}")},
    "network.EndpointSettings": {"Copy": ((), lambda it: it)},
    "network.EndpointIPAMConfig": {"Copy": ((), lambda it: it)},
}


def method_of(value: Value, name: str, *, to_print: bool = False) -> Method | None:
    """`to_print`: of just this type, not of a pointer to it."""
    if isinstance(value.data, Fields):
        return None if to_print else _of_row(value.data, name)
    known = (value.type.name, name, to_print)
    if known in _absent:
        return None
    method = _look_up(value, name, to_print=to_print)
    if method is None and not value.is_nil():  # a nil has none, whatever its type has
        _absent.add(known)
    return method


_absent: set[tuple[str, str, bool]] = set()


def _look_up(value: Value, name: str, *, to_print: bool) -> Method | None:
    kind: Type = value.type
    if kind.kind != "pointer":
        found = _METHODS.get(kind.name, {}).get(name)
        if found is None and not to_print:
            found = _OF_POINTERS.get(kind.name, {}).get(name)
        return found or _promoted(value, name, to_print=to_print)
    if value.data is None:
        return None
    target = pointed(value)
    found = _OF_POINTERS.get(target.type.name, {}).get(name)
    return found or method_of(target, name, to_print=to_print)


def _promoted(value: Value, name: str, *, to_print: bool) -> Method | None:
    """Of a struct that is embedded in this one."""
    if value.type.kind != "struct":
        return None
    for path in value.type.paths():
        if path[-1].embedded:
            inner = follow(value, path)
            found = method_of(inner, name, to_print=to_print)
            if found:
                return _bound(found, inner)
    return None


def _bound(method: Method, receiver: Value) -> Method:
    takes, function = method
    return takes, lambda _, *rest: function(receiver, *rest)


def _of_row(row: Fields, name: str) -> Method | None:
    if name == "Label" and row.label("") is not None:
        return ("string",), lambda _, label: text(row.label(label.data) or "")
    try:
        found = row.field(name)
    except KeyError:
        return None
    return (), lambda _: found if isinstance(found, Value) else _plain(found)


def _plain(found: Any) -> Value | None:
    from tiffin.cli.template.govalues import of

    return of(found)
