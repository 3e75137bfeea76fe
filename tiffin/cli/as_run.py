"""`inspect --as run`: the command line that makes a container again, from what inspect tells of it.

Minimal: what the image says by itself, and what the daemon fills in for everybody, is left out.
What no flag can say is named, not left out in silence.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tiffin.cli.client import Client

    Record = dict[str, Any]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")
_DEFAULT_SHM_BYTES = 64 << 20
_UNITS = ((3600 * 10**9, "h"), (60 * 10**9, "m"), (10**9, "s"), (10**6, "ms"), (10**3, "us"))

# Fields of HostConfig that a flag gives one word for, and the values that mean "not asked".
_TEXTS: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("network", "NetworkMode", ("", "default", "bridge")),
    ("pid", "PidMode", ("",)),
    ("ipc", "IpcMode", ("", "private")),
    ("uts", "UTSMode", ("",)),
    ("userns", "UsernsMode", ("",)),
    ("cgroupns", "CgroupnsMode", ("", "private")),
    ("cgroup-parent", "CgroupParent", ("",)),
    ("runtime", "Runtime", ("", "tiffin", "runc")),
    ("isolation", "Isolation", ("", "default")),
    ("volume-driver", "VolumeDriver", ("",)),
    ("cpuset-cpus", "CpusetCpus", ("",)),
    ("cpuset-mems", "CpusetMems", ("",)),
    ("memory", "Memory", (0,)),
    ("memory-swap", "MemorySwap", (0,)),
    ("memory-reservation", "MemoryReservation", (0,)),
    ("memory-swappiness", "MemorySwappiness", (None, -1)),
    ("shm-size", "ShmSize", (0, _DEFAULT_SHM_BYTES)),
    ("cpu-shares", "CpuShares", (0,)),
    ("cpu-period", "CpuPeriod", (0,)),
    ("cpu-quota", "CpuQuota", (0,)),
    ("cpu-rt-period", "CpuRealtimePeriod", (0,)),
    ("cpu-rt-runtime", "CpuRealtimeRuntime", (0,)),
    ("blkio-weight", "BlkioWeight", (0,)),
    ("pids-limit", "PidsLimit", (None, 0)),
    ("oom-score-adj", "OomScoreAdj", (0,)),
)
_FLAGS = (
    ("rm", "AutoRemove"),
    ("privileged", "Privileged"),
    ("read-only", "ReadonlyRootfs"),
    ("publish-all", "PublishAllPorts"),
    ("oom-kill-disable", "OomKillDisable"),
)
_LISTS = (
    ("volume", "Binds"),
    ("volumes-from", "VolumesFrom"),
    ("dns", "Dns"),
    ("dns-option", "DnsOptions"),
    ("dns-search", "DnsSearch"),
    ("add-host", "ExtraHosts"),
    ("cap-add", "CapAdd"),
    ("cap-drop", "CapDrop"),
    ("group-add", "GroupAdd"),
    ("link", "Links"),
    ("device-cgroup-rule", "DeviceCgroupRules"),
)
_PAIRS = (("sysctl", "Sysctls"), ("storage-opt", "StorageOpt"), ("annotation", "Annotations"))
_RATES = (
    ("blkio-weight-device", "BlkioWeightDevice", "Weight"),
    ("device-read-bps", "BlkioDeviceReadBps", "Rate"),
    ("device-write-bps", "BlkioDeviceWriteBps", "Rate"),
    ("device-read-iops", "BlkioDeviceReadIOps", "Rate"),
    ("device-write-iops", "BlkioDeviceWriteIOps", "Rate"),
)
# Keys of a mount's options and the fields that say them.
_MOUNT_OPTIONS = (
    ("BindOptions", "Propagation", "bind-propagation"),
    ("VolumeOptions", "Subpath", "volume-subpath"),
    ("ImageOptions", "Subpath", "image-subpath"),
    ("TmpfsOptions", "SizeBytes", "tmpfs-size"),
)


class CommandLine:
    """`words` after `tiffin run`; `unsaid` is what no flag can say."""

    def __init__(self, container: Record, image: Record) -> None:
        self._container = container
        self._config: Record = container["Config"]
        self._host: Record = container["HostConfig"]
        self._image = image
        self.unsaid: list[str] = []
        self.words = [*self._options(), *self._program()]

    def text(self) -> str:
        return " ".join(map(quoted, ["tiffin", "run", *self.words]))

    def _options(self) -> Iterator[str]:
        yield from self._streams()
        yield f"--name={self._container['Name'].removeprefix('/')}"
        yield from self._identity()
        yield from self._environment()
        yield from self._ports()
        yield from self._health()
        yield from self._of_host()
        if self._has_own_entrypoint():
            # The flag takes one word: the others stand before the command, for the same program.
            yield f"--entrypoint={next(iter(self._config.get('Entrypoint') or ()), '')}"

    def _streams(self) -> Iterator[str]:
        config = self._config
        attached = [name for name in ("Stdin", "Stdout", "Stderr") if config.get(f"Attach{name}")]
        if not attached:
            yield "-d"
        if config.get("OpenStdin"):
            yield "-i"
        elif "Stdin" in attached:
            yield "--attach=stdin"
        if config.get("Tty"):
            yield "-t"
        outputs = [name for name in attached if name != "Stdin"]
        if len(outputs) == 1:
            yield f"--attach={outputs[0].lower()}"

    def _differs(self, name: str) -> bool:
        return bool(self._config.get(name)) and self._config[name] != self._image.get(name)

    def _identity(self) -> Iterator[str]:
        config = self._config
        if config.get("Hostname") not in ("", None, self._container["Id"][:12]):
            yield f"--hostname={config['Hostname']}"
        for flag, name in (
            ("domainname", "Domainname"),
            ("user", "User"),
            ("workdir", "WorkingDir"),
            ("mac-address", "MacAddress"),
            ("stop-signal", "StopSignal"),
        ):
            if self._differs(name):
                yield f"--{flag}={config[name]}"
        if config.get("StopTimeout") is not None:
            yield f"--stop-timeout={config['StopTimeout']}"

    def _environment(self) -> Iterator[str]:
        known = set(self._image.get("Env") or ())
        yield from (
            f"--env={entry}" for entry in self._config.get("Env") or () if entry not in known
        )
        labels = self._image.get("Labels") or {}
        for name, value in (self._config.get("Labels") or {}).items():
            if labels.get(name) != value:
                yield f"--label={name}={value}"
        for path in self._config.get("Volumes") or {}:
            if path not in (self._image.get("Volumes") or {}):
                yield f"--volume={path}"

    def _ports(self) -> Iterator[str]:
        bindings: dict[str, list[Record]] = self._host.get("PortBindings") or {}
        for port, places in bindings.items():
            for place in places or [{}]:
                yield f"--publish={_publication(port, place)}"
        known = {*bindings, *(self._image.get("ExposedPorts") or {})}
        for port in self._config.get("ExposedPorts") or {}:
            if port not in known:
                yield f"--expose={port}"

    def _health(self) -> Iterator[str]:
        check, given = self._config.get("Healthcheck") or {}, self._image.get("Healthcheck") or {}
        test = check.get("Test") or []
        if test and test != given.get("Test"):
            if test[0] == "NONE":
                yield "--no-healthcheck"
                return
            command = test[1] if test[0] == "CMD-SHELL" else " ".join(map(quoted, test[1:]))
            if test[0] == "CMD":
                self.unsaid.append("a health check without a shell")
            yield f"--health-cmd={command}"
        for flag, name in (
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start-period", "StartPeriod"),
            ("start-interval", "StartInterval"),
        ):
            if check.get(name) and check[name] != given.get(name):
                yield f"--health-{flag}={_duration(check[name])}"
        if check.get("Retries") and check["Retries"] != given.get("Retries"):
            yield f"--health-retries={check['Retries']}"

    def _of_host(self) -> Iterator[str]:
        host = self._host
        # As much swap as memory is what a limit of memory brings with it.
        host = {**host, "MemorySwap": 0} if _is_usual_swap(host) else host
        for flag, name, defaults in _TEXTS:
            if host.get(name, defaults[0]) not in defaults:
                yield f"--{flag}={host[name]}"
        yield from (f"--{flag}" for flag, name in _FLAGS if host.get(name))
        for flag, name in _LISTS:
            yield from (f"--{flag}={value}" for value in host.get(name) or ())
        for flag, name in _PAIRS:
            for key, value in (host.get(name) or {}).items():
                yield f"--{flag}={key}={value}" if value else f"--{flag}={key}="
        if host.get("NanoCpus"):
            yield f"--cpus={_cpus(host['NanoCpus'])}"
        if host.get("Init") is not None:
            yield f"--init={str(host['Init']).lower()}"
        yield from self._addresses()
        yield from self._restart_and_log()
        yield from self._security()
        yield from self._mounts()
        yield from self._devices()

    def _addresses(self) -> Iterator[str]:
        """Those that were asked for, which are in no other place than the network's own record."""
        networks = (self._container.get("NetworkSettings") or {}).get("Networks") or {}
        for endpoint in networks.values():
            asked = endpoint.get("IPAMConfig") or {}
            yield from (f"--link-local-ip={each}" for each in asked.get("LinkLocalIPs") or ())

    def _restart_and_log(self) -> Iterator[str]:
        policy = self._host.get("RestartPolicy") or {}
        if policy.get("Name") not in ("", "no", None):
            count = policy.get("MaximumRetryCount")
            yield f"--restart={policy['Name']}" + (f":{count}" if count else "")
        log = self._host.get("LogConfig") or {}
        if log.get("Type") not in ("", "json-file", None):
            yield f"--log-driver={log['Type']}"
        for key, value in (log.get("Config") or {}).items():
            yield f"--log-opt={key}={value}"

    def _security(self) -> Iterator[str]:
        for option in self._host.get("SecurityOpt") or ():
            if option == "label=disable" and self._shares_the_hosts():
                continue  # that goes without saying
            if option.startswith("seccomp={"):
                self.unsaid.append("the seccomp profile: its text is in HostConfig.SecurityOpt")
            else:
                yield f"--security-opt={option}"
        if not self._host.get("Privileged") and self._host.get("MaskedPaths") == []:
            yield "--security-opt=systempaths=unconfined"

    def _shares_the_hosts(self) -> bool:
        modes = (self._host.get("PidMode"), self._host.get("IpcMode"))
        return bool(self._host.get("Privileged")) or "host" in modes

    def _mounts(self) -> Iterator[str]:
        for path, options in (self._host.get("Tmpfs") or {}).items():
            yield f"--tmpfs={path}:{options}" if options else f"--tmpfs={path}"
        for mount in self._host.get("Mounts") or ():
            yield f"--mount={','.join(map(_field, _mount_fields(mount)))}"

    def _devices(self) -> Iterator[str]:
        for device in self._host.get("Devices") or ():
            places = (device["PathOnHost"], device["PathInContainer"], device["CgroupPermissions"])
            yield f"--device={':'.join(places)}"
        for limit in self._host.get("Ulimits") or ():
            yield f"--ulimit={limit['Name']}={limit['Soft']}:{limit['Hard']}"
        for flag, name, what in _RATES:
            for each in self._host.get(name) or ():
                yield f"--{flag}={each['Path']}:{each[what]}"
        if self._host.get("DeviceRequests"):
            self.unsaid.append("device requests (--gpus)")

    def _program(self) -> Iterator[str]:
        yield self._config["Image"]
        command = self._config.get("Cmd") or []
        if self._has_own_entrypoint():
            yield from (self._config.get("Entrypoint") or [])[1:]
            yield from command
        elif command != (self._image.get("Cmd") or []):
            yield from command

    def _has_own_entrypoint(self) -> bool:
        return (self._config.get("Entrypoint") or []) != (self._image.get("Entrypoint") or [])


def _is_usual_swap(host: Record) -> bool:
    return bool(host.get("MemorySwap") == 2 * host.get("Memory", 0))


def _publication(port: str, place: Record) -> str:
    address, outside = place.get("HostIp") or "", place.get("HostPort") or ""
    if ":" in address:
        address = f"[{address}]"
    inside = port.removesuffix("/tcp")
    if address:
        return f"{address}:{outside}:{inside}"
    return f"{outside}:{inside}" if outside else inside


def _mount_fields(mount: Record) -> Iterator[str]:
    yield f"type={mount.get('Type') or 'volume'}"
    if mount.get("Source"):
        yield f"source={mount['Source']}"
    yield f"target={mount['Target']}"
    if mount.get("ReadOnly"):
        yield "readonly"
    if mount.get("Consistency"):
        yield f"consistency={mount['Consistency']}"
    for options, name, field in _MOUNT_OPTIONS:
        if value := (mount.get(options) or {}).get(name):
            yield f"{field}={value}"
    if mode := (mount.get("TmpfsOptions") or {}).get("Mode"):
        yield f"tmpfs-mode={mode:o}"
    yield from _volume_fields(mount.get("VolumeOptions") or {})
    yield from _recursion(mount.get("BindOptions") or {})


def _volume_fields(options: Record) -> Iterator[str]:
    if options.get("NoCopy"):
        yield "volume-nocopy"
    for name, value in (options.get("Labels") or {}).items():
        yield f"volume-label={name}={value}"
    driver = options.get("DriverConfig") or {}
    if driver.get("Name"):
        yield f"volume-driver={driver['Name']}"
    for name, value in (driver.get("Options") or {}).items():
        yield f"volume-opt={name}={value}"


def _recursion(options: Record) -> Iterator[str]:
    for name, word in (
        ("NonRecursive", "disabled"),
        ("ReadOnlyNonRecursive", "writable"),
        ("ReadOnlyForceRecursive", "readonly"),
    ):
        if options.get(name):
            yield f"bind-recursive={word}"


def _field(text: str) -> str:
    """As a field of comma-separated ones."""
    if "," not in text and '"' not in text:
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _duration(nanoseconds: int) -> str:
    for size, unit in _UNITS:
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"


def _cpus(nano: int) -> str:
    whole, rest = divmod(nano, 10**9)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def quoted(word: str) -> str:
    """For a shell, and only where it needs it."""
    if word and _PLAIN.issuperset(word):
        return word
    flag, equals, value = word.partition("=")
    if equals and flag.startswith("--") and _PLAIN.issuperset(flag) and value:
        return f"{flag}={quoted(value)}"
    return "'" + word.replace("'", "'\"'\"'") + "'"


def show_commands(client: Client, names: list[str]) -> None:
    """One line for each container; errors at the end, when all were asked for."""
    from tiffin.cli.failures import CommandFailed, DaemonAnswered
    from tiffin.cli.output import complain, say
    from tiffin.cli.targets import container_path, image_path

    errors: list[str] = []
    for name in names:
        try:
            container = client.get(container_path(name, "json"))
            image: Record = {}
            try:
                image = client.get(image_path(container["Image"], "json")).get("Config") or {}
            except DaemonAnswered:
                complain(f"WARNING: the image of {name} is gone: its defaults are spelled out")
        except DaemonAnswered as error:
            errors.append(error.message)
            continue
        line = CommandLine(container, image)
        say(line.text())
        for what in line.unsaid:
            complain(f"WARNING: {name} has what no flag says: {what}")
    if errors:
        raise CommandFailed("\n".join(errors))
