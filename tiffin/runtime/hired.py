"""Another OCI runtime, installed on this host, that makes a container in our stead: runc, crun.

It gets the same plan, as a bundle without what only we understand: layers and binds are mounted by
us, with the container's ids mapped, in a mount namespace of the maker's that ends with it; users
are looked up; and the runtime sees nothing but plain directories. Its state lies in the container's
own directory. Its processes become the shim's children, because the shim adopts orphans.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, CMSG_SPACE, SOCK_CLOEXEC, SOCK_STREAM, socket
from struct import unpack

from tiffin.kernel import mounts, syscalls
from tiffin.kernel.cgroup import Layout
from tiffin.runtime import messages, operations, users
from tiffin.runtime.failure import EXIT_BROKEN, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, Failure
from tiffin.runtime.messages import Message
from tiffin.runtime.operations import Config
from tiffin.runtime.program import reset_signals

# The newest that crun 1.8 reads; nothing in our plans is newer.
OCI_VERSION = "1.0.2"
CONSOLE_SOCKET = "console.sock"
STATE_DIRECTORY = "oci"
LOG_FILE = "oci.log"
PID_FILE = "oci.pid"
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_NOT_OCI = frozenset(("idmap", "ridmap", "tmpcopyup"))


class Hired:
    """The runtime of one container. `described` is {"path", "args"}."""

    def __init__(
        self,
        described: Config,
        directory: str,
        container_id: str,
        layout: Layout,
        namespace: int = -1,
    ) -> None:
        """`namespace`: the mount namespace that the bundle lies in, where that is not ours."""
        self.name: str = described.get("name") or described["path"]
        self._command: list[str] = [described["path"], *(described.get("args") or [])]
        self._directory = directory
        self._id = container_id
        self._hidden = layout.unified if layout.version == 1 else ""
        self._namespace = namespace

    # -- commands ---

    def spawn(self, command: str, words: list[str], stdio: list[int] | None = None) -> int:
        """A child that executes a command on the container: its pid. stdio: /dev/null unless given.

        In the container's directory, so that paths are short enough for a socket's address.
        """
        log = f"{self._directory}/{LOG_FILE}"
        self._unlink(LOG_FILE)
        roots = ["--root", f"{self._directory}/{STATE_DIRECTORY}"]
        logs = ["--log", log, "--log-format", "json"]
        argv = [*self._command, *roots, *logs, command, *words, self._id]
        pid = os.fork()
        if pid == 0:
            self._execute(argv, stdio)
        return pid

    def _execute(self, argv: list[str], stdio: list[int] | None) -> None:
        try:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            for number, fd in enumerate(stdio or [null] * 3):
                os.dup2(fd, number)
            if self._namespace >= 0:
                syscalls.setns(self._namespace, syscalls.CLONE_NEWNS)
            os.chdir(self._directory)
            os.umask(0o022)
            reset_signals()
            syscalls.close_all_but([])
            os.execve(argv[0], argv, _ENVIRONMENT)  # noqa: S606
        except OSError as error:
            self._note(f"{argv[0]}: {error.strerror}")
        os._exit(EXIT_NOT_FOUND)

    def hide_unified(self) -> None:
        """crun takes a cgroup2 beside v1 hierarchies for v2, and refuses it: it sees none."""
        if self._hidden:
            mounts.umount(self._hidden, mounts.MNT_DETACH)

    def _note(self, words: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(f"{self._directory}/{LOG_FILE}", flags, 0o600)
        os.write(fd, messages.encode({"level": "error", "msg": words}) + b"\n")
        os.close(fd)

    def run(self, command: str, words: list[str], stdio: list[int] | None = None) -> None:
        """Waits. Raises Failure with the runtime's own words."""
        _pid, status = os.waitpid(self.spawn(command, words, stdio), 0)
        if status:
            raise self.failure(command)

    def delete(self) -> None:
        """All that it holds for the container; what is not there is no matter."""
        if os.path.isdir(f"{self._directory}/{STATE_DIRECTORY}/{self._id}"):
            os.waitpid(self.spawn("delete", ["--force"]), 0)
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1
        for name in (LOG_FILE, PID_FILE, CONSOLE_SOCKET, "config.json"):
            self._unlink(name)
        try:
            os.rmdir(f"{self._directory}/{STATE_DIRECTORY}")
        except OSError:
            return

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(f"{self._directory}/{name}")
        except FileNotFoundError:
            return

    def failure(self, command: str) -> Failure:
        """Of a command that has failed, from its log."""
        words = self._last_words() or f"{self.name} {command} failed without a word"
        return Failure(words, f"{self.name} {command}", 0, _exit_code(words))

    def _last_words(self) -> str:
        try:
            with open(f"{self._directory}/{LOG_FILE}", "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            return ""
        said = ""
        for line in lines:
            try:
                record = messages.decode(line)
            except ValueError:
                continue
            if record.get("level") in ("error", "fatal", None):
                said = str(record.get("msg") or said)
        return _plain_words(said)

    # -- files ---

    def write_json(self, name: str, document: Message) -> str:
        path = f"{self._directory}/{name}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(messages.encode(document))
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        return path

    def read_pid(self, name: str = PID_FILE) -> int:
        """And forget the file. Raises Failure when it says none."""
        try:
            with open(f"{self._directory}/{name}", "rb") as file:
                return int(file.read())
        except (OSError, ValueError) as error:
            raise Failure(f"{self.name} has left no process id", self.name) from error
        finally:
            self._unlink(name)

    # -- terminals ---

    def listen_for_console(self) -> socket:
        """Where the runtime is to send a terminal's master; it waits there until we look."""
        self._unlink(CONSOLE_SOCKET)
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        os.chdir(self._directory)
        try:
            listener.bind(CONSOLE_SOCKET)
        finally:
            os.chdir("/")
        listener.listen(1)
        return listener

    def take_console(self, listener: socket, size: Config) -> int:
        """The master, once the runtime has ended well. Raises Failure when it has sent none."""
        listener.setblocking(False)
        try:
            fd, _address = listener._accept()  # type: ignore[attr-defined] # noqa: SLF001
            connection = socket(fileno=fd)
            _data, ancillary, _flags, _from = connection.recvmsg(4096, CMSG_SPACE(4))
            connection.close()
            master: int = unpack("i", ancillary[0][2])[0]
        except (OSError, IndexError) as error:
            raise Failure(f"{self.name} has sent no terminal", self.name) from error
        finally:
            listener.close()
            self._unlink(CONSOLE_SOCKET)
        os.set_inheritable(master, False)
        if size.get("height") and size.get("width"):
            syscalls.set_window_size(master, size["height"], size["width"])
        return master


_PREFIXES = ("create failed: ", "exec failed: ", "start failed: ", "container process: ")


def _plain_words(said: str) -> str:
    """Without the runtime's own introductions, which Docker's, and so ours, say already."""
    for prefix in _PREFIXES:
        said = said.partition(prefix)[2] or said
    for words in ("No such file or directory", "Permission denied", "Is a directory"):
        said = said.replace(words, words.lower())  # Docker's CLI goes by these
    return said


def _exit_code(words: str) -> int:
    if "executable file" in words or "no such file or directory" in words:
        return EXIT_NOT_FOUND
    return EXIT_NOT_EXECUTABLE if "permission denied" in words else EXIT_BROKEN


# --- the plan in plain words --------------------------------------------------------------------


def plain(config: Config, root: str, sources: dict[int, str], identity: users.Identity) -> Config:
    """The bundle's config.json. `sources`: by number of the mount, where we have put it."""
    made = {key: value for key, value in config.items() if key != "tiffin" and value}
    made["ociVersion"] = OCI_VERSION
    made["root"] = {**config["root"], "path": root}
    made["process"] = plain_process(config["process"], identity)
    made["mounts"] = [
        _plain_mount(mount, sources.get(number, ""))
        for number, mount in enumerate(config.get("mounts") or [])
    ]
    linux = {key: value for key, value in config["linux"].items() if value or value == 0}
    resources = linux.get("resources") or {}
    if resources.get("devices"):
        linux["resources"] = {**resources, "devices": list(map(_plain_rule, resources["devices"]))}
    if dict(operations.joined_namespaces(linux)).get("user"):
        linux.pop("uidMappings", None)  # they are the other's, who has made it
        linux.pop("gidMappings", None)
    made["linux"] = linux
    return made


def _plain_rule(rule: Config) -> Config:
    """ "Any" is not there, in OCI."""
    return {
        key: value for key, value in rule.items() if key not in ("major", "minor") or value >= 0
    }


def plain_process(process: Config, identity: users.Identity) -> Config:
    found = {key: value for key, value in process.items() if value is not None}
    more = [number for number in identity.groups if number != identity.gid]
    found["user"] = {"uid": identity.uid, "gid": identity.gid, "additionalGids": more}
    env = [word for word in process.get("env") or [] if word != "HOME="]
    if not any(word.startswith("HOME=") for word in env):
        env.append(f"HOME={identity.home}")
    found["env"] = env
    if not found.get("oomScoreAdj"):
        found.pop("oomScoreAdj", None)  # lowering it to what it was takes a right
    if not found.get("terminal"):
        found.pop("consoleSize", None)
    return found


def _plain_mount(mount: Config, source: str) -> Config:
    found = {key: value for key, value in mount.items() if key != "tiffin"}
    words = [word for word in mount.get("options") or [] if word not in _NOT_OCI]
    if source:  # attributes and ids are on what lies there
        kept = [word for word in words if word.lstrip("r") in ("private", "shared", "slave")]
        return {**found, "type": "bind", "source": source, "options": ["rbind", *kept]}
    return {**found, "options": words}


def identify(root: int, extra: Config, user: str = "") -> users.Identity:
    """Who the process is, by the files of the image below `root`. Raises Failure."""
    passwd, group = (_read_inside(root, f"/etc/{name}") for name in ("passwd", "group"))
    try:
        return users.resolve(
            user or extra.get("user") or "", extra.get("groups") or [], passwd, group
        )
    except users.UnknownUser as error:
        raise Failure(str(error), "find user", exit_code=EXIT_NOT_EXECUTABLE) from error


def _read_inside(root: int, path: str) -> bytes:
    resolve = mounts.RESOLVE_IN_ROOT | mounts.RESOLVE_NO_MAGICLINKS
    try:
        fd = mounts.openat2(root, path, os.O_PATH, resolve=resolve)
    except OSError:
        return b""
    try:
        return users.read_database(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
