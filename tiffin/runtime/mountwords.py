"""A mount's option words, sorted by who understands them: the mount, its file system, us. PURE."""

from __future__ import annotations

# linux/mount.h: attributes of the new mount API, by OCI (mount(8)) option word: (set, clear).
# With an "r" in front (rro, rnosuid) they hold for everything below as well.
_ATTRIBUTES = {
    "ro": (0x01, 0),
    "rw": (0, 0x01),
    "nosuid": (0x02, 0),
    "suid": (0, 0x02),
    "nodev": (0x04, 0),
    "dev": (0, 0x04),
    "noexec": (0x08, 0),
    "exec": (0, 0x08),
    "noatime": (0x10, 0x70),
    "relatime": (0, 0x70),
    "strictatime": (0x20, 0x70),
    "nodiratime": (0x80, 0),
    "diratime": (0, 0x80),
    "atime": (0, 0x70),
    "norelatime": (0, 0x70),
    "nostrictatime": (0, 0x70),
    "nosymfollow": (0x200000, 0),
    "symfollow": (0, 0x200000),
    "defaults": (0, 0),
}
_RECURSIVE = {
    f"r{word}": bits
    for word, bits in _ATTRIBUTES.items()
    if word not in ("defaults", "norelatime", "nostrictatime")
}
RDONLY = 0x01
NOSUID = 0x02
NODEV = 0x04
NOEXEC = 0x08
PROPAGATIONS = {
    "private": (0x40000, False),
    "rprivate": (0x40000, True),
    "slave": (0x80000, False),
    "rslave": (0x80000, True),
    "shared": (0x100000, False),
    "rshared": (0x100000, True),
    "unbindable": (0x20000, False),
    "runbindable": (0x20000, True),
}
# Flags of the super block: for the file system, which knows them without a value.
_SUPER_BLOCK = frozenset(("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"))
# Old words that mean nothing to a mount made by descriptor.
_IGNORED = frozenset(
    ("bind", "rbind", "auto", "nouser", "z", "Z", "silent", "loud", "iversion", "noiversion")
)
_OURS = frozenset(("idmap", "ridmap", "tmpcopyup"))

KNOWN = frozenset((*_ATTRIBUTES, *_RECURSIVE, *PROPAGATIONS, *_SUPER_BLOCK, *_IGNORED, *_OURS))


class Options:
    """A mount's option words, sorted by who understands them."""

    __slots__ = (
        "clear",
        "clear_below",
        "copy_up",
        "data",
        "idmap",
        "propagation",
        "propagation_recursive",
        "recursive",
        "set",
        "set_below",
    )

    def __init__(self, words: list[str], propagation: int = 0x40000) -> None:
        self.set = 0
        self.clear = 0
        self.set_below = 0  # these two with everything below
        self.clear_below = 0
        self.data: list[tuple[str, str]] = []  # (key, value), for the file system; value "" a flag
        self.propagation = propagation
        self.propagation_recursive = True
        self.recursive = "rbind" in words
        self.idmap = "idmap" in words or "ridmap" in words
        self.copy_up = "tmpcopyup" in words
        for word in words:
            self._take(word)

    def _take(self, word: str) -> None:
        if word in _ATTRIBUTES:
            set_bits, clear_bits = _ATTRIBUTES[word]
            self.set = self.set & ~clear_bits | set_bits
            self.clear = self.clear & ~set_bits | clear_bits
        elif word in _RECURSIVE:
            set_bits, clear_bits = _RECURSIVE[word]
            self.set_below = self.set_below & ~clear_bits | set_bits
            self.clear_below = self.clear_below & ~set_bits | clear_bits
        elif word in PROPAGATIONS:
            self.propagation, self.propagation_recursive = PROPAGATIONS[word]
        elif word not in _IGNORED and word not in _OURS:
            key, _, value = word.partition("=")
            self.data.append((key, value))
