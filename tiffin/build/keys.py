"""Cache keys: what a step depends on, listed, and its hash. PURE.

A step that changes files depends on the parent's content (its chain ID, never the config) and on
its action's fields; a COPY also on what it copies: content, mode and names, not owners and times.
A step that changes only the config depends on the parent and on the config that comes out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from tiffin.build.actions import Action, CopyFiles, MakeDirectory, RunCommand

_FORMAT = "tiffin build cache 1"


@dataclass(frozen=True)
class CacheKey:
    inputs: tuple[tuple[str, str], ...]

    @property
    def value(self) -> str:
        data = json.dumps([_FORMAT, *self.inputs], separators=(",", ":")).encode()
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def describe(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in self.inputs)


def config_key(parent: str | None, created_by: str, config: bytes) -> CacheKey:
    return CacheKey(
        (
            ("kind", "config"),
            ("parent", parent or ""),
            ("created by", created_by),
            ("config", config.decode()),
        )
    )


def action_key(
    parent: str | None, action: Action, *, sources: tuple[str, ...] = (), settings: str = ""
) -> CacheKey:
    """`sources` are what a COPY copies: digests of the content, or the chain IDs it comes from.

    `settings` is what else of the build reaches into a layer (--add-host, SOURCE_DATE_EPOCH).
    """
    inputs = [("kind", type(action).__name__), ("parent", parent or "")]
    inputs += _fields(action)
    inputs += [("source", source) for source in sources]
    if settings:
        inputs.append(("settings", settings))
    return CacheKey(tuple(inputs))


def _fields(action: Action) -> list[tuple[str, str]]:
    if isinstance(action, RunCommand):
        script = (action.script.name, action.script.body) if action.script else ()
        return [
            ("argv", _text(action.argv)),
            ("env", _text(sorted(action.env))),
            ("working directory", action.working_dir),
            ("user", action.user),
            ("network", action.network),
            ("script", _text(script)),
        ]
    if isinstance(action, MakeDirectory):
        return [("path", action.path), ("user", action.user)]
    return _copy_fields(action)


def _copy_fields(action: CopyFiles) -> list[tuple[str, str]]:
    return [
        ("instruction", action.instruction),
        ("destination", action.destination),
        ("owner", action.owner),
        ("mode", action.mode),
        ("excludes", _text(action.excludes)),
        ("unpack", str(action.unpack)),
        ("inline", _text([[document.name, document.body] for document in action.inline])),
    ]


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
