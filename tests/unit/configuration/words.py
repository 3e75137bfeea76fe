"""The flags of dockerd 28, as its reference lists them."""

from __future__ import annotations

DOCKERD_FLAGS = frozenset(
    """
    add-runtime allow-direct-routing authorization-plugin bip bridge bridge-accept-fwmark
    cdi-spec-dir cgroup-parent config-file containerd containerd-namespace
    containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root debug
    default-address-pool default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode
    default-network-opt default-runtime default-shm-size default-ulimit dns dns-opt dns-search
    exec-opt exec-root experimental feature fixed-cidr fixed-cidr-v6 group host host-gateway-ip
    http-proxy https-proxy icc init init-path insecure-registry ip ip-forward ip-forward-no-drop
    ip-masq ip6tables iptables ipv6 label live-restore log-driver log-format log-level log-opt
    max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr mtu
    network-control-plane-mtu no-new-privileges no-proxy node-generic-resource pidfile raw-logs
    registry-mirror rootless seccomp-profile selinux-enabled shutdown-timeout storage-driver
    storage-opt swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify userland-proxy
    userland-proxy-path userns-remap validate version
    """.split()
)
