"""Bodies as a careless or hostile client sends them, made from the API's own description.

Most fields hold what their type allows, some another type; strings and numbers are those at which
programs break. The description is not part of the repository: without it the caller skips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.unit.api.descriptions import description, resolved

Values = st.SearchStrategy[Any]

_WORDS = [
    "", " ", "x", "a" * 300, "é", "\0", "a\nb", "a:b", ":", "a:b:c:d", "=", "a=b", "=b", "/", "//",
    "/x", "/x/../..", "../x", ".", "..", "~", "-1", "0", "1", "0-1", "9999999999", "1-", "10m",
    "default", "host", "none", "bridge", "private", "shareable", "container:", "container:nobody",
    "json-file", "always", "on-failure", "no", "ro", "rw", "NONE", "CMD", "CMD-SHELL", "ALL",
    "CAP_CHOWN", "chown", "80/tcp", "80", "70000/tcp", "1-2/udp", "80/sctp", "1.2.3.4", "::1",
    "web:host-gateway", "web:1.2.3.4", "label=disable", "seccomp=unconfined", "seccomp={",
    "no-new-privileges", "apparmor=x", "systempaths=unconfined", "c 1:3 rwm", "a *:* rwm",
    "net.core.somaxconn", "kernel.msgmax", "kernel.shm_rmid_forced", "vm.swappiness", "nofile",
    "SIGTERM", "99", "root", "0:0", "nobody:nogroup", "4294967296", "crun", "local", "overlay2",
    "size", "{{.ID}}", "/dev/null", "/dev/none", "02:42:ac:11:00:02", "busybox", "sha256:x",
]  # fmt: skip
_NUMBERS = [
    0, 1, -1, 2, 7, 100, 1000, 1001, 65535, 65536, 6 << 20, 1 << 30,
    2**31 - 1, 2**31, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**70), 10**30,
]  # fmt: skip

_ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_NUMBERS),
    st.sampled_from(_WORDS),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"": ""}),
    st.just([[["x"]]]),
    st.floats(allow_nan=False, allow_infinity=False),
)


def create_bodies(version: str, special: Mapping[str, Values] | None = None) -> Values:
    """Bodies of POST /containers/create. `special`: values of fields, by name, at any depth."""
    bodies = _Bodies(description(version), special or {})
    host = bodies.of(description(version)["definitions"]["HostConfig"], depth=0)
    # Most of what can go wrong is in there, so it is never missing.
    both = st.tuples(bodies.posted("/containers/create"), host)
    return both.map(lambda parts: {**parts[0], "HostConfig": parts[1]})


def posted_bodies(version: str, path: str) -> Values:
    """Bodies of another POST. `path` is the description's: "/containers/{id}/exec"."""
    return _Bodies(description(version), {}).posted(path)


class _Bodies:
    def __init__(self, document: dict[str, Any], special: Mapping[str, Values]) -> None:
        self._document = document
        self._special = special

    def posted(self, path: str) -> Values:
        parameters = self._document["paths"][path]["post"]["parameters"]
        (body,) = (one["schema"] for one in parameters if one["in"] == "body")
        return self.of(body, depth=0)

    def of(self, schema: dict[str, Any], *, depth: int) -> Values:
        schema = resolved(self._document, schema)
        kind = schema.get("type", "object" if "properties" in schema else "")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            items = self.of(schema.get("items", {}), depth=depth + 1)
            return st.lists(items, max_size=3)
        return self._plain(schema, kind)

    def _plain(self, schema: dict[str, Any], kind: str) -> Values:
        if kind == "string":
            words = [*schema.get("enum", ()), *_WORDS]
            return st.one_of(st.sampled_from(words), st.text(max_size=12))
        if kind == "integer":
            return st.one_of(st.sampled_from(_NUMBERS), st.integers())
        return st.booleans() if kind == "boolean" else _ANYTHING

    def _object(self, schema: dict[str, Any], depth: int) -> Values:
        properties = schema.get("properties") or {}
        if not properties:
            extra = schema.get("additionalProperties")
            values = self.of(extra, depth=depth + 1) if isinstance(extra, dict) else _ANYTHING
            return st.dictionaries(st.sampled_from(_WORDS), values, max_size=2)
        fields = {name: self._field(name, part, depth) for name, part in properties.items()}
        few = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True)
        return few.flatmap(lambda names: st.fixed_dictionaries({n: fields[n] for n in names}))

    def _field(self, name: str, schema: dict[str, Any], depth: int) -> Values:
        usual = self._special.get(name)
        if usual is None:
            usual = st.deferred(lambda: self.of(schema, depth=depth + 1))
        # Few are of the wrong type: one is enough to end a body's way through the code.
        return st.integers(0, 39).flatmap(lambda chance: usual if chance else _ANYTHING)
