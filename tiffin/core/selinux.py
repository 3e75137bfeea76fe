"""SELinux labels of containers: what `--security-opt label=` makes of the policy's own. PURE.

A label is user:role:type:level. The policy says which ones containers have (lxc_contexts); each
container gets a level with two categories of its own, so that they are kept apart though all are of
one type: its processes have the one label, its files the other.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

import msgspec

from tiffin.errors import InvalidArgument

DISABLE = "disable"
CATEGORIES = 1024
SHARED_LEVEL = "s0"
_DRAWS = 10_000  # of half a million pairs
_OPTIONS = ("user", "role", "type", "level", "filetype")
_VALID = "'disable, user, role, level, type, filetype'"


class Label(msgspec.Struct, frozen=True):
    user: str
    role: str
    type: str
    level: str = ""  # "" where the policy has no levels

    @classmethod
    def parse(cls, text: str) -> Label:
        """Raises ValueError for what is no label."""
        user, role, kind, *level = text.split(":", 3)
        return cls(user, role, kind, *level)

    def __str__(self) -> str:
        return ":".join(filter(None, (self.user, self.role, self.type, self.level)))


class Labels(msgspec.Struct, frozen=True):
    """Of a container's processes and of its files. Empty: the kernel is told none."""

    process: str = ""
    mount: str = ""


class Policy(msgspec.Struct, frozen=True):
    """The labels that a policy has for containers. Empty: it has none."""

    process: str = ""
    file: str = ""
    layers: str = ""  # what all containers may read: a root is shown of it, the kernel looks below


def parse_contexts(text: str) -> Policy:
    """Of the file lxc_contexts."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        label = value.strip().strip("\"'")
        if equals and label.count(":") >= 2:
            found[key.strip()] = label
    if "process" not in found or "file" not in found:
        return Policy()
    return Policy(found["process"], found["file"], found.get("ro_file", ""))


def check_option(option: str) -> str:
    """What follows `label=`, if it can be. Raises InvalidArgument."""
    key, colon, value = option.partition(":")
    if option == DISABLE:
        return option
    if not colon:
        raise InvalidArgument(
            f"bad label option \"{option}\", valid options 'disable' or "
            "'user, role, level, type, filetype' followed by ':' and a value"
        )
    if key not in _OPTIONS:
        raise InvalidArgument(f'bad label option "{option}", valid options {_VALID}')
    # It becomes a part of the kernel's text and of mount options.
    plain = value.isascii() and value.isprintable() and not set(value) & set(" \"'\\")
    if not value or not plain or (":" in value and key != "level"):
        raise InvalidArgument(f'bad label option "{option}": no {key} of a label')
    return option


def choose(policy: Policy, options: Iterable[str], level: str) -> Labels:
    """By options that have been checked; `level` is for who asks for none.

    Without labels the files still have one, which only the privileged may use.
    """
    if not policy.process:
        return Labels()
    asked = list(options)
    process, file = Label.parse(policy.process), Label.parse(policy.file)
    leveled = bool(process.level)
    if DISABLE in asked:
        own = f"s0:c{CATEGORIES - 2},c{CATEGORIES - 1}" if leveled else ""
        return Labels("", str(msgspec.structs.replace(file, level=own)))
    given = dict(option.split(":", 1) for option in asked)
    levels = {"level": given.get("level") or level} if leveled or "level" in given else {}
    users = {"user": given["user"]} if "user" in given else {}
    kinds = {key: given[key] for key in ("role", "type") if key in given}
    files = {"type": given["filetype"]} if "filetype" in given else {}
    return Labels(
        str(msgspec.structs.replace(process, **users, **kinds, **levels)),
        str(msgspec.structs.replace(file, **users, **files, **levels)),
    )


def options_of(process_label: str) -> tuple[str, ...]:
    """Those that make the same label again: who joins a container is labelled as it is."""
    if not process_label:
        return (DISABLE,)
    label = Label.parse(process_label)
    parts = zip(_OPTIONS, (label.user, label.role, label.type, label.level), strict=False)
    return tuple(f"{key}:{value}" for key, value in parts if value)


def shared(label: str) -> str:
    """A file's label for all containers: without categories."""
    parsed = Label.parse(label)
    return str(msgspec.structs.replace(parsed, level=SHARED_LEVEL if parsed.level else ""))


def type_of(label: str) -> str:
    return Label.parse(label).type if label else ""


def level_of(label: str) -> str:
    return Label.parse(label).level if label else ""


def free_level(taken: Container[str], draw: Callable[[int], int]) -> str:
    """Two categories that nobody has. `draw(n)` is a number below n, by chance.

    Raises InvalidArgument when all pairs are taken, which no machine has containers for.
    """
    usable = CATEGORIES - 2  # the last two are those of files without a container
    for _ in range(_DRAWS):
        low, high = sorted((draw(usable), draw(usable)))
        level = f"s0:c{low},c{high}"
        if low != high and level not in taken:
            return level
    raise InvalidArgument("every pair of SELinux categories is in use")
