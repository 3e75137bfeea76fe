"""What Go's decoder says of a value that does not fit: Docker's clients show these words.

The struct is the innermost one by its name there, the field its whole path, the type Go's own.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import inspect

_WRONG_TYPE = re.compile(r"Expected `(\w+)[^`]*`, got `(\w+)`(?: - at `\$(.*)`)?")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_SENT = {"str": "string", "int": "number", "float": "number"}

# Of a struct of ours: its name there, and its package.
_STRUCTS = {
    "ContainerConfig": ("CreateRequest", "container"),
    "ExecRequest": ("ExecOptions", "container"),
    "StartRequest": ("ExecStartOptions", "container"),
    "VolumeRequest": ("CreateOptions", "volume"),
    "NetworkRequest": ("CreateRequest", "network"),
    "MembershipRequest": ("ConnectOptions", "network"),
    "EndpointSettings": ("EndpointSettings", "network"),
    "EndpointIPAMConfig": ("EndpointIPAMConfig", "network"),
    "Healthcheck": ("HealthcheckConfig", "v1"),
    "MountRequest": ("Mount", "mount"),
    "BindOptions": ("BindOptions", "mount"),
    "VolumeOptions": ("VolumeOptions", "mount"),
    "ImageOptions": ("ImageOptions", "mount"),
    "TmpfsOptions": ("TmpfsOptions", "mount"),
    "ClusterOptions": ("ClusterOptions", "mount"),
    "Driver": ("Driver", "mount"),
    "Ulimit": ("Ulimit", "units"),
    "PortBinding": ("PortBinding", "nat"),
    "WeightDevice": ("WeightDevice", "blkiodev"),
    "ThrottleDevice": ("ThrottleDevice", "blkiodev"),
}
# By field: types with a name of their own there.
_INTEGERS = {
    "BlkioWeight": "uint16",
    "Weight": "uint16",
    "Rate": "uint64",
    "ConsoleSize": "uint",
    "Mode": "os.FileMode",
    **dict.fromkeys(("StopTimeout", "OomScoreAdj", "Count", "MaximumRetryCount", "Retries"), "int"),
    **dict.fromkeys(("Interval", "Timeout", "StartPeriod", "StartInterval"), "time.Duration"),
}
_MODES = ("NetworkMode", "IpcMode", "PidMode", "UTSMode", "UsernsMode", "CgroupnsMode")
_NAMED = {
    **{name: f"container.{name}" for name in (*_MODES, "Isolation")},
    "Mount.Type": "mount.Type",
    "Mount.Consistency": "mount.Consistency",
    "BindOptions.Propagation": "mount.Propagation",
    "RestartPolicy.Name": "container.RestartPolicyMode",
    "ExposedPorts": "nat.PortSet",
    "PortBindings": "nat.PortMap",
    "ConsoleSize": "[2]uint",
}
_BY_POINTER = frozenset({"units.Ulimit", "blkiodev.WeightDevice", "blkiodev.ThrottleDevice"})
_RANGES = {"uint16": (0, 2**16 - 1), "os.FileMode": (0, 2**32 - 1)}
_SIGNED = (-(2**63), 2**63 - 1)


def fits(value: int, field: str) -> bool:
    """Whether Go's type of a number in this field holds it."""
    kind = _INTEGERS.get(field, "")
    low, high = _RANGES.get(kind, (0, _SIGNED[1]) if kind.startswith("uint") else _SIGNED)
    return low <= value <= high


def explain(
    message: str,
    kind: inspect.Type,
    document: Any,
    *,
    root: str,
    prefix: str,
    lists: frozenset[str],
) -> str:
    """`message` of msgspec's in Go's words. `root`: the outermost struct's name where not ours.

    `prefix`: where the document lies in the body. `lists`: fields that may be a plain string too.
    """
    match = _WRONG_TYPE.fullmatch(message)
    if match is None:
        return message
    steps = [name or index for name, index in _STEP.findall(match[3] or "")]
    fields = [name for name, _ in _STEP.findall(match[3] or "") if name]
    owner, struct, wanted = _walk(kind, steps, root)
    sent = _SENT.get(match[2], match[2])
    if fields and f"{owner}.{fields[-1]}" in lists:
        sent, wanted = sent if steps[-1] == fields[-1] else "array", "string"
    elif match[1] == "int" and match[2] == "float":
        sent += _literal(document, steps)
    place = ".".join(filter(None, [prefix, *fields]))
    return f"json: cannot unmarshal {sent} into Go struct field {struct}.{place} of type {wanted}"


def malformed(message: str, data: bytes) -> str:
    """Of bytes that are no JSON, where `message` is msgspec's."""
    text = data.strip()
    if not text:
        return "invalid JSON: got EOF while reading request body"
    if "truncated" in message:
        return "invalid JSON: unexpected EOF"
    if "trailing characters" in message:
        return "unexpected content after JSON"
    place = re.search(r"\(byte (\d+)\)", message)
    if place and data[: int(place[1])].strip() == b"":
        character = text[:1].decode("latin-1")
        return f"invalid JSON: invalid character '{character}' looking for beginning of value"
    return f"invalid JSON: {message}"


def no_document(value: Any, kind: str) -> str:
    """Of a body that was to be an object of `kind`, a Go type."""
    return f"invalid JSON: json: cannot unmarshal {_sent(value)} into Go value of type {kind}"


def _sent(value: Any) -> str:
    kinds = {str: "string", list: "array", dict: "object", bool: "bool"}
    return kinds.get(type(value), "number")


def no_object(value: Any, place: str, kind: str, struct: str = "CreateRequest") -> str:
    """Of a value at `place` that was to be an object of `kind`, a Go type."""
    *outer, _ = place.split(".")
    struct = outer[-1] if outer else struct
    return (
        f"invalid JSON: json: cannot unmarshal {_sent(value)} into Go struct field "
        f"{struct}.{place} "
        f"of type {kind}"
    )


def _walk(kind: inspect.Type, steps: list[str], root: str) -> tuple[str, str, str]:
    """The innermost struct on the way by our name and by Go's, and the Go type at its end."""
    owner, struct, field, wanted = "", "", "", ""
    for step in steps:
        kind = given(kind)
        if isinstance(kind, inspect.StructType):
            name, _ = _name(kind)
            owner, struct, field = kind.cls.__name__, name if struct else root or name, step
            kind = next(part.type for part in kind.fields if part.encode_name == step)
            wanted = _NAMED.get(f"{struct}.{field}") or _NAMED.get(field) or _type(kind, field)
        else:
            kind = _inner(kind)
            wanted = _type(kind, field)
    return owner, struct, wanted


def _type(kind: inspect.Type, field: str) -> str:
    kind = given(kind)
    if isinstance(kind, inspect.IntType):
        return _INTEGERS.get(field, "int64")
    if isinstance(kind, inspect.StructType):
        name, package = _name(kind)
        return f"{package}.{name}"
    if isinstance(kind, inspect.DictType):
        empty = isinstance(kind.value_type, inspect.AnyType)
        return "struct {}" if empty else f"map[string]{_held(kind.value_type, field)}"
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return f"[]{_held(kind.item_type, field)}"
    return "bool" if isinstance(kind, inspect.BoolType) else "string"


def _held(kind: inspect.Type, field: str) -> str:
    name = _type(kind, field)
    return f"*{name}" if name in _BY_POINTER else name


def _name(kind: inspect.StructType) -> tuple[str, str]:
    own = kind.cls.__name__
    return _STRUCTS.get(own, (own, "container"))


def _inner(kind: inspect.Type) -> inspect.Type:
    if isinstance(kind, inspect.DictType):
        return kind.value_type
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return kind.item_type
    return kind.item_types[0] if isinstance(kind, inspect.TupleType) else kind


def given(kind: inspect.Type) -> inspect.Type:
    """`X` of `X | None`."""
    if isinstance(kind, inspect.UnionType):
        return next(part for part in kind.types if not isinstance(part, inspect.NoneType))
    return kind


def _literal(document: Any, steps: list[str]) -> str:
    """The number itself, where the path leads to one."""
    for step in steps:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and step.isdecimal():
            document = document[int(step)]
        else:
            return ""
    return f" {document}"
