"""The table of configuration keys and flags: dockerd's names, what each takes, what we do with it.

A key is *obeyed* (OBEYED), has *one right value* here (SETTLED: what dockerd can switch and tiffin
does always or never), or stands for something that tiffin does not have (ABSENT). The last two are
refused by name and with the reason, never passed over.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Key(NamedTuple):
    """`flag`: its name on the command line, "" where there is none. `letter`: the short one.

    `kind`: string, bool, int, bytes, list (repeatable) or map (repeatable name=value).
    """

    name: str
    flag: str
    letter: str
    kind: str
    help: str


def _same(name: str, kind: str, text: str, letter: str = "") -> Key:
    return Key(name, name, letter, kind, text)


OBEYED: tuple[Key, ...] = (
    Key("hosts", "host", "H", "list", "Daemon socket(s) to connect to"),
    _same("data-root", "string", 'Root directory of persistent state (default "/var/lib/tiffin")'),
    _same("exec-root", "string", 'Root directory for execution state (default "/run/tiffin")'),
    _same(
        "pidfile", "string", 'Path to use for daemon PID file (default "EXEC_ROOT/tiffin.pid")', "p"
    ),
    _same("group", "string", 'Group for the unix socket (default "docker")', "G"),
    _same("debug", "bool", "Enable debug mode", "D"),
    _same(
        "log-level",
        "string",
        'Set the logging level ("debug"|"info"|"warn"|"error"|"fatal") (default "info")',
        "l",
    ),
    _same("log-format", "string", 'Set the logging format ("text"|"json") (default "text")'),
    _same("tls", "bool", "Use TLS; implied by --tlsverify"),
    _same("tlsverify", "bool", "Use TLS and verify the remote"),
    _same("tlscacert", "string", 'Trust certs signed only by this CA (default "~/.docker/ca.pem")'),
    _same("tlscert", "string", 'Path to TLS certificate file (default "~/.docker/cert.pem")'),
    _same("tlskey", "string", 'Path to TLS key file (default "~/.docker/key.pem")'),
    _same("bip", "string", "IPv4 address of the default bridge, as 172.17.0.1/16"),
    _same("mtu", "int", "Set the containers network MTU"),
    _same("ip", "string", "Host IP for port publishing from the default bridge (default 0.0.0.0)"),
    _same("dns", "list", "DNS server to use"),
    Key("dns-opts", "dns-opt", "", "list", "DNS options to use"),
    _same("dns-search", "list", "DNS search domains to use"),
    Key("insecure-registries", "insecure-registry", "", "list", "Registry to speak to without TLS"),
    Key("registry-mirrors", "registry-mirror", "", "list", "Preferred registry mirror"),
    Key("labels", "label", "", "list", "Set key=value labels to the daemon"),
    _same("cgroup-parent", "string", "Set parent cgroup for all containers"),
    _same(
        "default-cgroupns-mode",
        "string",
        'Default mode for containers cgroup namespace ("host"|"private")',
    ),
    _same("default-ipc-mode", "string", 'Default mode for containers ipc ("shareable"|"private")'),
    _same("default-shm-size", "bytes", "Default shm size for containers (default 64MiB)"),
    Key("default-ulimits", "default-ulimit", "", "map", "Default ulimits for containers"),
    _same("default-runtime", "string", 'Default OCI runtime for containers (default "tiffin")'),
    Key("runtimes", "add-runtime", "", "map", "Register an additional OCI compatible runtime"),
    _same("init", "bool", "Run an init in the container to forward signals and reap processes"),
    _same("log-driver", "string", 'Default driver for container logs (default "json-file")'),
    Key("log-opts", "log-opt", "", "map", "Default log driver options for containers"),
    _same("no-new-privileges", "bool", "Set no-new-privileges by default for new containers"),
    _same("seccomp-profile", "string", 'Path to seccomp profile, "builtin" or "unconfined"'),
    _same(
        "selinux-enabled", "bool", "Enable SELinux labels of containers, where the kernel has them"
    ),
    _same("shutdown-timeout", "int", "Seconds that requests under way get at the end (default 15)"),
    _same("max-concurrent-downloads", "int", "Set the max concurrent downloads (default 3)"),
    _same("max-concurrent-uploads", "int", "Set the max concurrent uploads (default 5)"),
    _same(
        "max-download-attempts", "int", "Set the max download attempts for each pull (default 5)"
    ),
    _same("http-proxy", "string", "HTTP proxy URL to use for outgoing traffic"),
    _same("https-proxy", "string", "HTTPS proxy URL to use for outgoing traffic"),
    _same("no-proxy", "string", "Comma-separated list of hosts for which the proxy is not used"),
)

# Keys that group others in the file: {"proxies": {"http-proxy": ...}}.
GROUPED = {"proxies": ("http-proxy", "https-proxy", "no-proxy")}

_ALWAYS = "containers always go on while the daemon does not run"
# key -> (kind, the values that are as it is anyway, why no other)
SETTLED: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "live-restore": ("bool", (True,), _ALWAYS),
    "storage-driver": ("string", ("overlay2", "overlay"), "layers are overlay file systems"),
    "icc": ("bool", (True,), "containers on the default bridge reach each other"),
    "ip-forward": ("bool", (True,), "the default bridge needs forwarding"),
    "ip-masq": ("bool", (True,), "containers appear outside as this machine"),
    "iptables": ("bool", (True,), "published ports are rules of the packet filter"),
    "ip6tables": ("bool", (False,), "the default bridge has no IPv6"),
    "ipv6": ("bool", (False,), "the default bridge has no IPv6"),
    "userland-proxy": ("bool", (False,), "the kernel redirects loopback traffic too"),
    "userns-remap": (
        "string",
        ("", "default"),
        "each container has an id range of its own, out of /etc/subuid",
    ),
    "experimental": ("bool", (False,), "there are no experimental features"),
    "rootless": ("bool", (False,), "the daemon needs root"),
    "raw-logs": ("bool", (True, False), ""),
    "exec-opts": (
        "list",
        ("native.cgroupdriver=cgroupfs",),
        "the cgroup driver is cgroupfs",
    ),
    "init-path": ("string", ("",), "the init of --init is built in"),
    "features": (
        "object",
        ({"buildkit": False}, {"containerd-snapshotter": False}),
        "there is neither BuildKit nor containerd's image store",
    ),
    "swarm-default-advertise-addr": ("string", ("",), "there is no swarm mode"),
    "authorization-plugins": ("list", (), "there are no plugins"),
    "storage-opts": ("list", (), "the storage driver has no options"),
    "default-address-pools": ("list", (), "there are no user-defined networks"),
}

# key -> why it is refused whatever it says
ABSENT: dict[str, str] = {
    "allow-direct-routing": "published ports are the only way to a container",
    "allow-nondistributable-artifacts": "foreign layers are never pushed",
    "api-cors-header": "there is no cross-origin access to the API",
    "bip6": "the default bridge has no IPv6",
    "bridge": "the default bridge is the daemon's own; bip sets its address",
    "bridge-accept-fwmark": "there is no such rule",
    "builder": "the build cache has no policy of its own; see builder prune",
    "cdi-spec-dir": "there is no CDI support",
    "cdi-spec-dirs": "there is no CDI support",
    "cluster-advertise": "there is no swarm mode",
    "cluster-store": "there is no swarm mode",
    "cluster-store-opts": "there is no swarm mode",
    "containerd": "there is no containerd",
    "containerd-namespace": "there is no containerd",
    "containerd-plugins-namespace": "there is no containerd",
    "containerd-plugin-namespace": "there is no containerd",
    "cpu-rt-period": "there is no real-time scheduling of containers",
    "cpu-rt-runtime": "there is no real-time scheduling of containers",
    "cri-containerd": "there is no containerd",
    "default-gateway": "the bridge is the gateway",
    "default-gateway-v6": "the default bridge has no IPv6",
    "default-network-opt": "there are no user-defined networks",
    "default-network-opts": "there are no user-defined networks",
    "deprecated-key-path": "the daemon has no key",
    "dns-option": "the key is dns-opts",
    "firewall-backend": "the packet filter is nftables",
    "fixed-cidr": "containers get addresses of the whole of bip",
    "fixed-cidr-v6": "the default bridge has no IPv6",
    "host-gateway-ip": "host-gateway is the bridge's address",
    "host-gateway-ips": "host-gateway is the bridge's address",
    "ip-forward-no-drop": "forwarding policy of the machine is left alone",
    "metrics-addr": "there are no metrics",
    "min-api-version": "the oldest API version is fixed",
    "network-control-plane-mtu": "there is no swarm mode",
    "network-diagnostic-port": "there is no swarm mode",
    "node-generic-resource": "there is no swarm mode",
    "node-generic-resources": "there is no swarm mode",
    "oom-score-adjust": "the service manager sets it (OOMScoreAdjust=)",
    "swarm-raft-election-tick": "there is no swarm mode",
    "swarm-raft-heartbeat-tick": "there is no swarm mode",
    "userland-proxy-path": "there is no userland proxy",
}

SWITCHES = frozenset({"allow-direct-routing", "cri-containerd", "ip-forward-no-drop"})

# The flag of a settled key where it is not the key's own name.
SETTLED_FLAGS = {
    "exec-opts": "exec-opt",
    "storage-opts": "storage-opt",
    "authorization-plugins": "authorization-plugin",
    "default-address-pools": "default-address-pool",
}
# Its flag says one of them at a time: `--feature name=true`.
FILE_ONLY = frozenset({"features"})

BY_NAME = {key.name: key for key in OBEYED}
# What a running daemon takes over on SIGHUP; the rest counts from its next start.
RELOADED = frozenset(
    {
        "debug",
        "log-level",
        "labels",
        "insecure-registries",
        "registry-mirrors",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "shutdown-timeout",
        "default-cgroupns-mode",
        "default-ipc-mode",
        "default-runtime",
        "default-shm-size",
        "runtimes",
    }
)
