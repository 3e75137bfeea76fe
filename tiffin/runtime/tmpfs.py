"""The option words of a tmpfs: Docker's defaults and the user's, each checked by name. PURE."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

_CONTRARY = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "async": "sync",
    "atime": "noatime",
    "diratime": "nodiratime",
    "norelatime": "relatime",
    "nostrictatime": "strictatime",
}
_TMPFS_FLAGS = frozenset(_CONTRARY) | frozenset(_CONTRARY.values()) | {"dirsync"}
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})
_PROPAGATIONS = frozenset(
    {"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"}
)


def tmpfs_options(words: str, *, read_only: bool = False) -> list[str]:
    """Docker's defaults and the user's words, of contrary ones the last. Raises InvalidArgument."""
    asked = [word for word in words.split(",") if word and word != "defaults"]
    merged: dict[str, str] = {}
    for word in ["noexec", "nosuid", "nodev", "rprivate", *asked, *(["ro"] if read_only else [])]:
        key = _tmpfs_key(word)
        merged.pop(key, None)
        merged[key] = word
    return list(merged.values())


def _tmpfs_key(word: str) -> str:
    if word in _PROPAGATIONS:
        return "propagation"
    if word in _TMPFS_FLAGS:
        return _CONTRARY.get(word, word)
    name, equals, _ = word.partition("=")
    if not equals or name not in _TMPFS_VALUES:
        raise InvalidArgument(f'invalid tmpfs option "{name}"')
    return name
