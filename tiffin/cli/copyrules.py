"""The rules of `cp`: what a path means by its end, and where what is copied comes to lie.

They are those of the docker CLI: a name that ends in "/" or "/." asks for a directory, "/." at a
source means what is in it, and a destination that does not exist gives its name to what is copied.
Paths here are Go's (filepath.Clean, Split, Base), which differ from Python's at the edges.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from tiffin.cli.failures import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Go's os.FileMode bits, in which the daemon describes a path.
MODE_DIRECTORY, MODE_SYMLINK, MODE_DEVICE, MODE_IRREGULAR = 1 << 31, 1 << 27, 1 << 26, 1 << 19
_MAX_LINKS = 10


class Place:
    """A source or a destination. `rebase` is the name that it was asked by, if another."""

    def __init__(self, path: str, *, exists: bool, is_directory: bool, rebase: str = "") -> None:
        self.path = path
        self.exists = exists
        self.is_directory = is_directory
        self.rebase = rebase


class Landing:
    """Where an archive is unpacked, and under which name what it holds; "" is none of its own."""

    def __init__(self, directory: str, name: str) -> None:
        self.directory = directory
        self.name = name


def clean(path: str) -> str:
    found = posixpath.normpath(path) if path else "."
    return "/" + found.lstrip("/") if found.startswith("//") else found


def base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def is_within(path: str, directory: str) -> bool:
    """In a container, links aside."""
    whole = clean("/" + directory)
    return whole == "/" or f"{clean('/' + path)}/".startswith(f"{whole}/")


def means_contents(path: str) -> bool:
    return base(path) == "."


def asks_for_directory(path: str) -> bool:
    return path.endswith("/") or means_contents(path)


def split_entry(path: str) -> tuple[str, str]:
    """The directory and the name in it, which is "." for "dir/."."""
    found = clean(path)
    if means_contents(path):
        return found, "."
    return os.path.dirname(found) or ".", base(found)


def keep_end(found: str, asked: str) -> str:
    """`found` with what `asked` for a directory by."""
    if means_contents(asked) and not means_contents(found):
        found = found.rstrip("/") + "/."
    if asked.endswith("/") and not found.endswith("/"):
        found += "/"
    return found


def absolute(path: str) -> str:
    return keep_end(os.path.abspath(path), path)


def rebased(asked: str, leads_to: str) -> tuple[str, str]:
    """Where a followed link leads, written as it was asked for, and the name that it keeps."""
    found = keep_end(leads_to, asked)
    return found, base(asked) if base(asked) != base(found) else ""


# -- here ------------------------------------------------------------------------------------------


def local_source(path: str, *, follow: bool) -> Place:
    """What is at an absolute path; with `follow` where a link at its end leads."""
    rebase = ""
    try:
        if follow:
            found, rebase = rebased(path, os.path.realpath(path, strict=True))
        else:
            head, _, name = path.rpartition("/")
            found = os.path.join(os.path.realpath(head or "/", strict=True), name)
            if path.endswith("/") and base(path) != base(found):
                rebase = base(path)
        is_directory = stat.S_ISDIR(os.lstat(found).st_mode)
    except NotADirectoryError as error:
        raise CommandFailed("not a directory") from error
    except OSError as error:
        if follow and error.errno == errno.ELOOP:
            raise CommandFailed("EvalSymlinks: too many links") from error
        where = os.path.realpath(path) if follow or asks_for_directory(path) else path
        raise CommandFailed(f"lstat {where}: {(error.strerror or '').lower()}") from error
    if asks_for_directory(path) and not is_directory:
        raise CommandFailed("not a directory")
    return Place(found, exists=True, is_directory=is_directory, rebase=rebase)


def check_output(path: str) -> None:
    """Before anything is asked of the daemon."""
    directory = os.path.dirname(clean(path))
    if not os.path.exists(directory):
        raise CommandFailed(f'invalid output path: directory "{directory}" does not exist')
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refusal("stat", path, error) from error
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        raise CommandFailed(
            f'invalid output path: "{path}" must be a directory or a regular file: got a device'
        )


def local_target(path: str) -> Place:
    """Where links lead, also to what does not exist as long as its directory does."""
    found = path
    for _ in range(_MAX_LINKS + 1):
        try:
            status = os.lstat(found)
        except FileNotFoundError:
            return _new_target(found)
        except OSError as error:
            raise _refusal("lstat", found, error) from error
        if not stat.S_ISLNK(status.st_mode):
            return Place(found, exists=True, is_directory=stat.S_ISDIR(status.st_mode))
        link = os.readlink(found)
        found = link if link.startswith("/") else clean(os.path.join(split_entry(found)[0], link))
    raise CommandFailed(f"too many symlinks in {path}")


def _new_target(path: str) -> Place:
    directory = split_entry(path)[0]
    try:
        status = os.stat(directory)
    except OSError as error:
        raise _refusal("stat", directory, error) from error
    if not stat.S_ISDIR(status.st_mode):
        raise CommandFailed("not a directory")
    return Place(path, exists=False, is_directory=False)


def _refusal(call: str, path: str, error: OSError) -> CommandFailed:
    return CommandFailed(f"{call} {path}: {(error.strerror or '').lower()}")


# -- from one to the other -------------------------------------------------------------------------


def landing(source: Place, target: Place) -> Landing:
    """Raises CommandFailed where the two do not go together."""
    own = source.rebase or split_entry(source.path)[1]
    if target.exists and target.is_directory:
        return Landing(target.path, "" if own in (".", "/") else own)
    if target.exists and source.is_directory:
        raise CommandFailed("cannot copy directory")
    if not source.is_directory and not target.exists and asks_for_directory(target.path):
        raise CommandFailed("no such directory")
    directory, name = split_entry(target.path)
    return Landing(directory, "" if name in (".", "/") else name)


def below_first(name: str, *, of_root: bool) -> list[str]:
    """An entry's path in what is copied: without its first part, which is that one's name or ".".

    Only the root of a container has no name in front.
    """
    parts = [part for part in name.split("/") if part]
    if ".." in parts:
        raise CommandFailed(f"the archive reaches outside: {name}")
    return [part for part in (parts if of_root else parts[1:]) if part != "."]


def joined(name: str, parts: Sequence[str]) -> str:
    return "/".join([name, *parts] if name else parts)
