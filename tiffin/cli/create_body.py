"""The command line of `run` as the body of `POST /containers/create`, field for field as Docker's.

Pure, but for the files that options name (`--env-file`, a seccomp profile), the environment that
`-e NAME` copies from, and the working directory of `-v ./here:/there`.
"""

from __future__ import annotations

import posix

from tiffin.cli import quantities
from tiffin.cli.surroundings import environment, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from tiffin.cli.options import Arguments

_PREDEFINED = frozenset(("", "default", "bridge", "host", "none"))
_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax "
    "kernel.shmmni kernel.shm_rmid_forced".split()
)
_PROTOCOLS = ("tcp", "udp", "sctp")


class WrongOption(ValueError):
    """Options that are each right but not together, or a file that is not there."""


# -- checks of single values, made while the command line is parsed -------------------------------


def check_env(text: str) -> str:
    """`NAME=value`, or `NAME` with the value that our own environment has."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if equals:
        return text
    value = environment(name)
    return text if value is None else f"{name}={value}"


def check_label(text: str) -> str:
    key = text.partition("=")[0].lstrip(" \t")
    if not key:
        raise ValueError(f"invalid label '{text}': empty name")
    if " " in key or "\t" in key:
        raise ValueError(f"label '{key}' contains whitespaces")
    return text


def check_attach(text: str) -> str:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def is_address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def check_address(text: str) -> str:
    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def check_extra_host(text: str) -> str:
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found or not name or ":" in name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        if not is_address(address.strip()):
            raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def check_search(text: str) -> str:
    domain = text.strip(" ")
    labels = domain.removesuffix(".").split(".")
    right = all(
        label and label.replace("-", "a").isalnum() and label[0] != "-" and label[-1] != "-"
        for label in labels
    )
    if domain != "." and not (right and domain.isascii() and any(map(str.isalpha, domain))):
        raise ValueError(f"{domain} is not a valid domain")
    return domain


def check_sysctl(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    allowed = name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))
    if not equals or not name or not allowed:
        raise ValueError(f"sysctl '{text}' is not allowed")
    return name, value


def check_pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def check_link(text: str) -> str:
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def check_device_rule(text: str) -> str:
    kind, _, rest = text.partition(" ")
    numbers, _, mode = rest.partition(" ")
    major, colon, minor = numbers.partition(":")
    right = all(part == "*" or part.isdecimal() for part in (major, minor))
    if not (kind in ("a", "c", "b") and colon and right and 0 < len(mode) < 4):
        raise ValueError(f"invalid device cgroup format '{text}'")
    if mode.strip("rwm"):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def check_weight(text: str) -> dict[str, object]:
    path, number = _device_value(text)
    if not number.isdecimal() or (int(number) and not 10 <= int(number) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(number)}


def check_bytes_rate(text: str) -> dict[str, object]:
    path, number = _device_value(text)
    try:
        return {"Path": path, "Rate": quantities.parse_size(number)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        ) from None


def check_operations_rate(text: str) -> dict[str, object]:
    path, number = _device_value(text)
    if not number.isdecimal():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>. Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(number)}


def _device_value(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def check_gpus(text: str) -> dict[str, object]:
    import tiffin.cli.mounts as words

    return words.parse_gpus(text)


def check_mount(text: str) -> dict[str, object]:
    import tiffin.cli.mounts as words

    return words.parse_mount(text)


def check_network(text: str) -> dict[str, Any]:
    if "=" not in text:
        return {"name": text}
    import tiffin.cli.mounts as words

    return words.parse_network(text)


CHECKS: Mapping[str, Callable[[str], object]] = {
    "add-host": check_extra_host,
    "annotation": check_pair,
    "attach": check_attach,
    "blkio-weight-device": check_weight,
    "cpus": quantities.parse_cpus,
    "device-cgroup-rule": check_device_rule,
    "device-read-bps": check_bytes_rate,
    "device-read-iops": check_operations_rate,
    "device-write-bps": check_bytes_rate,
    "device-write-iops": check_operations_rate,
    "dns": check_address,
    "dns-search": check_search,
    "env": check_env,
    "gpus": check_gpus,
    "health-interval": quantities.parse_duration,
    "health-start-interval": quantities.parse_duration,
    "health-start-period": quantities.parse_duration,
    "health-timeout": quantities.parse_duration,
    "kernel-memory": quantities.parse_size,
    "label": check_label,
    "link": check_link,
    "memory": quantities.parse_size,
    "memory-reservation": quantities.parse_size,
    "memory-swap": quantities.parse_swap,
    "mount": check_mount,
    "network": check_network,
    "shm-size": quantities.parse_size,
    "sysctl": check_sysctl,
    "ulimit": quantities.parse_ulimit,
}


# -- the whole ------------------------------------------------------------------------------------


def create_body(arguments: Arguments, console: tuple[int, int]) -> dict[str, Any]:
    """The request body; WrongOption in the docker CLI's words."""
    if arguments.given("mac-address"):
        _check_mac(arguments.text("mac-address"))
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


def _check_mac(text: str) -> None:
    parts = text.strip().replace("-", ":").split(":")
    digits = "0123456789abcdefABCDEF"
    right = all(len(part) == 2 and not part.strip(digits) for part in parts)
    if len(parts) not in (6, 8, 20) or not right:
        raise WrongOption(f"{text} is not a valid mac address")


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


# -- volumes, ports, devices, networks, files -----------------------------------------------------


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


def absolute(path: str) -> str:
    """The path from the root, `.` and `..` resolved by their names alone."""
    whole = path if path.startswith("/") else f"{posix.getcwd()}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def parse_ports(published: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Exposed ports and port bindings of `-p`: `80`, `8080:80/udp`, `127.0.0.1:5000-5010:80-90`."""
    exposed: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for text in published:
        for port, binding in _port_mappings(_plain_notation(text) if "=" in text else text):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    return exposed, bindings


def _plain_notation(text: str) -> str:
    """`published=8080,target=80,protocol=udp` in the short form."""
    found = {"protocol": "tcp"}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise WrongOption(
                f"invalid publish opts format (should be name=value but got '{word}')"
            )
        found[name] = value
    return f"{found.get('published', '')}:{found.get('target', '')}/{found['protocol']}"


def _port_mappings(text: str) -> list[tuple[str, dict[str, str]]]:
    *front, inside = text.split(":")
    outside = front[-1] if front else ""
    address = ":".join(front[:-1])
    inside, protocol = _protocol(inside)
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address and not is_address(address):
        raise WrongOption(f"invalid IP address: {address}")
    if not inside:
        raise WrongOption(f"no port specified: {text}<empty>")
    first, last = _range(inside, f"invalid containerPort: {inside}")
    if outside:
        host_first, host_last = _range(outside, f"invalid hostPort: {outside}")
        if last - first != host_last - host_first and last != first:
            raise WrongOption(
                f"invalid ranges specified for container and host Ports: {inside} and {outside}"
            )
    if protocol.lower() not in _PROTOCOLS:
        raise WrongOption(f"invalid proto: {protocol}")
    found = []
    for step in range(last - first + 1):
        host_port = str(host_first + step) if outside else ""
        if outside and first == last and host_first != host_last:
            host_port = f"{host_port}-{host_last}"
        port = f"{first + step}/{protocol.lower()}"
        found.append((port, {"HostIp": address, "HostPort": host_port}))
    return found


def _protocol(text: str) -> tuple[str, str]:
    port, _, protocol = text.partition("/")
    return port, protocol or "tcp"


def _range(text: str, problem: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = (first, last) if dash else (first, first)
    if not all(each.isdecimal() and int(each) < 65536 for each in numbers):
        raise WrongOption(problem)
    if int(numbers[1]) < int(numbers[0]):
        raise WrongOption(problem)
    return int(numbers[0]), int(numbers[1])


def parse_expose(text: str) -> list[str]:
    if ":" in text:
        raise WrongOption(f"invalid port format for --expose: {text}")
    ports, protocol = _protocol(text)
    parsing = f'strconv.ParseUint: parsing "{ports}": invalid syntax'
    problem = f"invalid range format for --expose: {text}, error: {parsing}"
    first, last = _range(ports, problem)
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


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


def _is_user_defined(network: str) -> bool:
    return network not in _PREDEFINED and not network.startswith("container:")


def endpoints(arguments: Arguments) -> dict[str, Any]:
    """The endpoint settings by network; a network without any, asked for alone, has no entry."""
    networks = arguments.many("network")
    found: dict[str, Any] = {}
    for number, network in enumerate(networks or [{"name": "default"}]):
        asked = dict(network)
        if number == 0:
            _add_container_options(asked, arguments)
        name = asked["name"]
        if name in found:
            raise WrongOption(f'network "{name}" is specified multiple times')
        endpoint = _endpoint(asked)
        if len(networks) == 1 and endpoint == _endpoint({"name": name}):
            continue
        found[name] = endpoint
    kinds = {_is_user_defined(network["name"]) for network in networks}
    if len(kinds) > 1:
        raise WrongOption(
            "conflicting options: "
            "cannot attach both user-defined and non-user-defined network-modes"
        )
    return found


# option, key of a --network field, what the conflict is about
_ENDPOINT_OPTIONS = (
    ("network-alias", "alias", "--network-alias and per-network alias"),
    ("link", "link", "--link and per-network links"),
    ("ip", "ip", "--ip and per-network IPv4 address"),
    ("ip6", "ip6", "--ip6 and per-network IPv6 address"),
    ("mac-address", "mac-address", "--mac-address and per-network MAC address"),
    ("link-local-ip", "link-local-ip", "--link-local-ip and per-network link-local IP addresses"),
)


def _add_container_options(asked: dict[str, Any], arguments: Arguments) -> None:
    """`--ip`, `--network-alias` and their like belong to the first network."""
    for option, key, pair in _ENDPOINT_OPTIONS:
        if not arguments.values.get(option):
            continue
        if asked.get(key):
            raise WrongOption(f"conflicting options: cannot specify both {pair}")
        if option == "link" and not _is_user_defined(asked["name"]):
            continue
        asked[key] = arguments.values[option]


def _endpoint(asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["name"]
    if not name.strip():
        raise WrongOption("no name set for network")
    if not _is_user_defined(name):
        if asked.get("alias"):
            raise WrongOption("network-scoped aliases are only supported for user-defined networks")
        if asked.get("link"):
            raise WrongOption("links are only supported for user-defined networks")
    if asked.get("mac-address"):
        _check_mac(asked["mac-address"])
    addresses = {
        title: asked[key]
        for title, key in (
            ("IPv4Address", "ip"),
            ("IPv6Address", "ip6"),
            ("LinkLocalIPs", "link-local-ip"),
        )
        if asked.get(key)
    }
    return {
        "IPAMConfig": addresses or None,
        "Links": asked.get("link") or None,
        "Aliases": asked.get("alias") or None,
        "MacAddress": asked.get("mac-address", ""),
        "DriverOpts": asked.get("driver-opt") or None,
        "GwPriority": asked.get("gw-priority", 0),
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def read_pairs(
    files: list[str], given: list[str], find: Callable[[str], str | None] | None
) -> list[str] | None:
    """The lines of `files`, then what was `given`; `find` knows values for names alone."""
    found: list[str] = []
    for path in files:
        try:
            data = read_file(path)
        except OSError as error:
            raise WrongOption(f"open {path}: {(error.strerror or '').lower()}") from error
        try:
            found += _pairs_of(data, find)
        except ValueError as error:
            raise WrongOption(f"invalid env file ({path}): {error}") from error
    return found + given or None


def _pairs_of(data: bytes, find: Callable[[str], str | None] | None) -> list[str]:
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError:
            raise ValueError(
                f"invalid utf8 bytes at line {number}: [{' '.join(map(str, raw))}]"
            ) from None
        if not line or line.startswith("#"):
            continue
        name, equals, _ = line.partition("=")
        if not name:
            raise ValueError(f"no variable name on line '{line}'")
        if " " in name or "\t" in name:
            raise ValueError(f"variable '{name}' contains whitespaces")
        if equals:
            found.append(line)
        elif find is not None and (value := find(name)) is not None:
            found.append(f"{name}={value}")
    return found
