"""The command line of `run` as the body of `POST /containers/create`, field for field as Docker's.

Pure, but for the files that options name (`--env-file`, a seccomp profile), the environment that
`-e NAME` copies from, and the working directory of `-v ./here:/there`.
"""

from __future__ import annotations

from tiffin.cli.endpointwords import check_mac, endpoints
from tiffin.cli.failures import WrongOption
from tiffin.cli.optionchecks import check_pair
from tiffin.cli.pairfiles import read_pairs
from tiffin.cli.portwords import parse_expose, parse_ports
from tiffin.cli.surroundings import absolute, environment, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.options import Arguments


def create_body(arguments: Arguments, console: tuple[int, int]) -> dict[str, Any]:
    """The request body; WrongOption in the docker CLI's words."""
    if arguments.given("mac-address"):
        check_mac(arguments.text("mac-address"))
    swappiness = arguments.number("memory-swappiness", -1)
    if not -1 <= swappiness <= 100:
        raise WrongOption(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    ports, bindings = parse_ports(arguments.many("publish"))
    for text in arguments.many("expose"):
        ports |= {port: {} for port in parse_expose(text)}
    body = _config(arguments, ports)
    body["HostConfig"] = _host_config(arguments, bindings, console)
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints(arguments)}
    return body


def _config(arguments: Arguments, ports: dict[str, Any]) -> dict[str, Any]:
    streams = arguments.many("attach")
    keep_stdin = arguments.flag("interactive")
    attach_stdin = keep_stdin or "stdin" in streams
    image, *words = arguments.words
    body: dict[str, Any] = {
        "Hostname": arguments.text("hostname"),
        "Domainname": arguments.text("domainname"),
        "User": arguments.text("user"),
        "AttachStdin": attach_stdin,
        "AttachStdout": not streams or "stdout" in streams,
        "AttachStderr": not streams or "stderr" in streams,
    }
    if ports:
        body["ExposedPorts"] = ports
    body |= {
        "Tty": arguments.flag("tty"),
        "OpenStdin": keep_stdin,
        "StdinOnce": keep_stdin and attach_stdin,
        "Env": read_pairs(arguments.many("env-file"), arguments.many("env"), environment),
        "Cmd": words or None,
    }
    if health := _health(arguments):
        body["Healthcheck"] = health
    labels = read_pairs(arguments.many("label-file"), arguments.many("label"), None)
    body |= {
        "Image": image,
        "Volumes": {text: {} for text in arguments.many("volume") if not _source_of(text)},
        "WorkingDir": arguments.text("workdir"),
        "Entrypoint": [arguments.text("entrypoint")] if arguments.given("entrypoint") else None,
        "OnBuild": None,
        "Labels": dict(check_pair(text) for text in labels or ()),
    }
    if arguments.given("stop-signal") and arguments.text("stop-signal"):
        body["StopSignal"] = arguments.text("stop-signal")
    if arguments.given("stop-timeout"):
        body["StopTimeout"] = arguments.number("stop-timeout")
    return body


def _host_config(
    arguments: Arguments, bindings: dict[str, Any], console: tuple[int, int]
) -> dict[str, Any]:
    text, many = arguments.text, arguments.many
    restart = parse_restart(text("restart", "no"))
    if arguments.flag("rm") and restart["Name"] not in ("no", ""):
        raise WrongOption("conflicting options: cannot specify both --restart and --rm")
    security, unconfined = _security(many("security-opt"))
    body: dict[str, Any] = {
        "Binds": parse_binds(many("volume")) or None,
        "ContainerIDFile": text("cidfile"),
        "LogConfig": {"Type": text("log-driver"), "Config": _log_options(arguments)},
        "NetworkMode": many("network")[0]["name"] if many("network") else "default",
        "PortBindings": bindings,
        "RestartPolicy": restart,
        "AutoRemove": arguments.flag("rm"),
        "VolumeDriver": text("volume-driver"),
        "VolumesFrom": many("volumes-from") or None,
        "ConsoleSize": list(console),
        "CapAdd": _capabilities(many("cap-add")),
        "CapDrop": _capabilities(many("cap-drop")),
        "CgroupnsMode": _mode(arguments, "cgroupns", ("private", "host"), "CGROUP"),
        "Dns": many("dns"),
        "DnsOptions": many("dns-option"),
        "DnsSearch": many("dns-search"),
        "ExtraHosts": many("add-host") or None,
        "GroupAdd": many("group-add") or None,
        "IpcMode": text("ipc"),
        "Cgroup": "",
        "Links": many("link") or None,
        "OomScoreAdj": arguments.number("oom-score-adj"),
        "PidMode": _pid_mode(text("pid")),
        "Privileged": arguments.flag("privileged"),
        "PublishAllPorts": arguments.flag("publish-all"),
        "ReadonlyRootfs": arguments.flag("read-only"),
        "SecurityOpt": security,
        "UTSMode": _mode(arguments, "uts", ("host",), "UTS"),
        "UsernsMode": _mode(arguments, "userns", ("host",), "USER"),
        "ShmSize": arguments.number("shm-size"),
        "Isolation": text("isolation"),
        **_resources(arguments),
        "MaskedPaths": [] if unconfined else None,
        "ReadonlyPaths": [] if unconfined else None,
    }
    body |= _when_given(arguments)
    return body


def _when_given(arguments: Arguments) -> dict[str, Any]:
    """The fields that stay away when nobody asked for them."""
    text, many = arguments.text, arguments.many
    found = {
        "StorageOpt": _storage_options(many("storage-opt")),
        "Tmpfs": {path: how for path, _, how in (each.partition(":") for each in many("tmpfs"))},
        "Sysctls": dict(many("sysctl")),
        "Runtime": text("runtime"),
        "Mounts": many("mount"),
        "Annotations": dict(many("annotation")),
    }
    present: dict[str, Any] = {name: value for name, value in found.items() if value}
    if arguments.given("init"):
        present["Init"] = arguments.flag("init")
    return present


def _resources(arguments: Arguments) -> dict[str, Any]:
    number, many = arguments.number, arguments.many
    memory_reservation = number("memory-reservation")
    body = {
        "CpuShares": number("cpu-shares"),
        "Memory": number("memory"),
        "NanoCpus": number("cpus"),
        "CgroupParent": arguments.text("cgroup-parent"),
        "BlkioWeight": number("blkio-weight"),
        "BlkioWeightDevice": many("blkio-weight-device"),
        "BlkioDeviceReadBps": many("device-read-bps"),
        "BlkioDeviceWriteBps": many("device-write-bps"),
        "BlkioDeviceReadIOps": many("device-read-iops"),
        "BlkioDeviceWriteIOps": many("device-write-iops"),
        "CpuPeriod": number("cpu-period"),
        "CpuQuota": number("cpu-quota"),
        "CpuRealtimePeriod": number("cpu-rt-period"),
        "CpuRealtimeRuntime": number("cpu-rt-runtime"),
        "CpusetCpus": arguments.text("cpuset-cpus"),
        "CpusetMems": arguments.text("cpuset-mems"),
        "Devices": [parse_device(text) for text in many("device") if not _is_cdi(text)],
        "DeviceCgroupRules": many("device-cgroup-rule") or None,
        "DeviceRequests": _device_requests(arguments),
        "MemoryReservation": memory_reservation,
        "MemorySwap": number("memory-swap"),
        "MemorySwappiness": number("memory-swappiness", -1),
        "OomKillDisable": arguments.flag("oom-kill-disable"),
        "PidsLimit": number("pids-limit"),
        "Ulimits": _ulimits(many("ulimit")),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }
    if arguments.given("kernel-memory"):
        body["KernelMemory"] = number("kernel-memory")
    return body


def _ulimits(limits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = {limit["Name"]: limit for limit in limits}
    return [last[name] for name in sorted(last)]


def _capabilities(names: list[str]) -> list[str] | None:
    """As the Go client sends them: upper case, `CAP_` in front, sorted, ALL alone."""
    full = {
        name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"
        for name in (each.strip().upper() for each in names)
    }
    return sorted(full) or None


def _mode(arguments: Arguments, name: str, allowed: tuple[str, ...], title: str) -> str:
    value = arguments.text(name)
    if value and value not in allowed:
        raise WrongOption(f"--{name}: invalid {title} mode")
    return value


def _pid_mode(value: str) -> str:
    kind, _, container = value.partition(":")
    if value and value != "host" and not (kind == "container" and container):
        raise WrongOption("--pid: invalid PID mode")
    return value


def parse_restart(text: str) -> dict[str, Any]:
    name, colon, count = text.partition(":")
    if colon and not name:
        raise WrongOption("invalid restart policy format: no policy provided before colon")
    try:
        number = int(count or "0")
    except ValueError:
        raise WrongOption(
            "invalid restart policy format: maximum retry count must be an integer"
        ) from None
    return {"Name": name, "MaximumRetryCount": number}


def _log_options(arguments: Arguments) -> dict[str, str]:
    options = arguments.many("log-opt")
    if options and arguments.text("log-driver") == "none":
        raise WrongOption("invalid logging opts for driver none")
    return dict(check_pair(text) for text in options)


def _storage_options(options: list[str]) -> dict[str, str]:
    if not all("=" in text for text in options):
        raise WrongOption("invalid storage option")
    return dict(check_pair(text) for text in options)


def _security(options: list[str]) -> tuple[list[str] | None, bool]:
    """The options, a seccomp profile as its text; and whether system paths are unconfined."""
    kept = [_security_option(text) for text in options if text != "systempaths=unconfined"]
    return (kept if options else None), len(kept) != len(options)


def _security_option(text: str) -> str:
    name, found, value = text.partition("=")
    if not found and name != "no-new-privileges":
        name, found, value = text.partition(":")
    if name == "no-new-privileges":
        return text
    if not found or not value:
        raise WrongOption(f'Invalid --security-opt: "{text}"')
    if name != "seccomp" or value in ("builtin", "unconfined"):
        return text
    from tiffin.cli.jsontext import decode, show

    try:
        profile = decode(read_file(value))
    except OSError as error:
        raise WrongOption(
            f"opening seccomp profile ({value}) failed: "
            f"open {value}: {(error.strerror or '').lower()}"
        ) from error
    except ValueError as error:
        raise WrongOption(
            f"compacting json for seccomp profile ({value}) failed: {error}"
        ) from error
    return f"seccomp={show(profile)}"


def _health(arguments: Arguments) -> dict[str, Any]:
    command = arguments.text("health-cmd")
    spans = {
        "Interval": arguments.number("health-interval"),
        "Timeout": arguments.number("health-timeout"),
        "StartPeriod": arguments.number("health-start-period"),
        "StartInterval": arguments.number("health-start-interval"),
        "Retries": arguments.number("health-retries"),
    }
    asked = bool(command) or any(spans.values())
    if arguments.flag("no-healthcheck"):
        if asked:
            raise WrongOption("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    options = ("interval", "timeout", "start-period", "start-interval", "retries")
    for option, value in zip(options, spans.values(), strict=True):
        if value < 0:
            raise WrongOption(f"--health-{option} cannot be negative")
    found: dict[str, Any] = {"Test": ["CMD-SHELL", command]} if command else {}
    return found | {name: value for name, value in spans.items() if value} if asked else {}


# -- volumes and devices -------------------------------------------------------------------------


def _sections(text: str) -> list[str]:
    if not text:
        raise WrongOption("invalid empty volume spec")
    parts = text.split(":")
    if len(text) > 2:
        if not all(parts):
            raise WrongOption(f"invalid spec: {text}: empty section between colons")
        if len(parts) > 3:
            raise WrongOption(f"invalid spec: {text}: too many colons")
    return parts


def _source_of(text: str) -> str:
    parts = _sections(text)
    return parts[0] if len(parts) > 1 and len(text) > 2 else ""


def parse_binds(volumes: list[str]) -> list[str]:
    """What of `-v` has a source; a path that starts with a dot is made absolute."""
    binds = []
    for text in dict.fromkeys(volumes):
        source = _source_of(text)
        if source:
            rest = text[len(source) :]
            binds.append((absolute(source) if source.startswith(".") else source) + rest)
    return binds


def _is_cdi(text: str) -> bool:
    """`vendor.com/class=name`: a device of the Container Device Interface, no path."""
    kind, equals, name = text.partition("=")
    return bool(equals and name and not kind.startswith("/") and kind.count("/") == 1)


def _device_requests(arguments: Arguments) -> list[Any] | None:
    found = arguments.many("gpus")
    names = [text for text in arguments.many("device") if _is_cdi(text)]
    if names:
        found.append(
            {
                "Driver": "cdi",
                "Count": 0,
                "DeviceIDs": names,
                "Capabilities": None,
                "Options": None,
            }
        )
    return found or None


def _is_device_mode(text: str) -> bool:
    return bool(text) and not text.strip("rwm") and len(set(text)) == len(text)


def parse_device(text: str) -> dict[str, str]:
    """`/dev/sda[:/dev/xvda][:rwm]`."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise WrongOption(f"bad format for path: {text}")
    source, inside, mode = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        inside, mode = parts[1], parts[2]
        if not _is_device_mode(mode):
            raise WrongOption(f"bad mode specified: {mode}")
    elif len(parts) == 2 and _is_device_mode(parts[1]):
        mode = parts[1]
    elif len(parts) == 2:
        inside = parts[1]
    if not inside.startswith("/"):
        raise WrongOption(f"{inside} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": inside, "CgroupPermissions": mode}
