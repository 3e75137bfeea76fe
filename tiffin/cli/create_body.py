"""The command line of `run` as the body of `POST /containers/create`, field for field as Docker's.

Pure, but for the files that options name (`--env-file`, a seccomp profile), the environment that
`-e NAME` copies from, and the working directory of `-v ./here:/there`.
"""

from __future__ import annotations

from tiffin.cli.endpointwords import check_mac, endpoints
from tiffin.cli.failures import WrongOption
from tiffin.cli.options import to_pair
from tiffin.cli.surroundings import absolute, environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.options import Arguments


def create_body(arguments: Arguments, console: tuple[int, int]) -> dict[str, Any]:
    """The request body; WrongOption in the docker CLI's words."""
    if arguments.text("mac-address"):
        check_mac(arguments.text("mac-address"))
    swappiness = arguments.number("memory-swappiness", -1)
    if not -1 <= swappiness <= 100:
        raise WrongOption(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    ports, bindings = _ports(arguments)
    body = _config(arguments, ports)
    body["HostConfig"] = _host_config(arguments, bindings, console)
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints(arguments)}
    return body


def _ports(arguments: Arguments) -> tuple[dict[str, Any], dict[str, Any]]:
    if not (arguments.given("publish") or arguments.given("expose")):
        return {}, {}
    from tiffin.cli.portwords import parse_expose, parse_ports

    ports, bindings = parse_ports(arguments.many("publish"))
    for text in arguments.many("expose"):
        ports |= {port: {} for port in parse_expose(text)}
    return ports, bindings


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
        "Env": arguments.pairs("env", "env-file", environment),
        "Cmd": words or None,
    }
    if any("health" in option for option in arguments.values):
        from tiffin.cli.healthwords import parse_health

        if health := parse_health(arguments):
            body["Healthcheck"] = health
    labels = arguments.pairs("label", "label-file", None)
    body |= {
        "Image": image,
        "Volumes": {text: {} for text in arguments.many("volume") if not _source_of(text)},
        "WorkingDir": arguments.text("workdir"),
        "Entrypoint": [arguments.text("entrypoint")] if arguments.given("entrypoint") else None,
        "OnBuild": None,
        "Labels": dict(to_pair(text) for text in labels or ()),
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
    devices, requests = _devices(many("device"), many("gpus"))
    return {
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
        "Devices": devices,
        "DeviceCgroupRules": many("device-cgroup-rule") or None,
        "DeviceRequests": requests,
        "MemoryReservation": number("memory-reservation"),
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


def _devices(paths: list[str], gpus: list[Any]) -> tuple[list[Any], list[Any] | None]:
    if not paths and not gpus:
        return [], None
    from tiffin.cli.devicewords import device_requests, is_cdi, parse_device

    devices = [parse_device(text) for text in paths if not is_cdi(text)]
    return devices, device_requests(paths, gpus)


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


def _security(options: list[str]) -> tuple[list[str] | None, bool]:
    if not options:
        return None, False
    from tiffin.cli.securitywords import parse_security

    return parse_security(options)


def _log_options(arguments: Arguments) -> dict[str, str]:
    options = arguments.many("log-opt")
    if options and arguments.text("log-driver") == "none":
        raise WrongOption("invalid logging opts for driver none")
    return dict(to_pair(text) for text in options)


def _storage_options(options: list[str]) -> dict[str, str]:
    if not all("=" in text for text in options):
        raise WrongOption("invalid storage option")
    return dict(to_pair(text) for text in options)


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
