"""Fields that a document leaves out where there is nothing to say, and what they are then.

Go's client reads documents into structs, which have all of their fields: `{{if .State.Health}}` and
`{{range .Mounts}}{{.Name}}{{end}}` are no mistakes where there is neither health check nor name.
Which struct a document is, is told by the keys that it always has.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONFIG: dict[str, Any] = {
    "ArgsEscaped": False,
    "Cmd": None,
    "Domainname": "",
    "Entrypoint": None,
    "Env": None,
    "ExposedPorts": None,
    "Healthcheck": None,
    "Hostname": "",
    "Image": "",
    "Labels": None,
    "MacAddress": "",
    "NetworkDisabled": False,
    "OnBuild": None,
    "Shell": None,
    "StopSignal": "",
    "StopTimeout": None,
    "User": "",
    "Volumes": None,
    "WorkingDir": "",
}
_HOST_CONFIG: dict[str, Any] = {
    "Annotations": None,
    "Init": None,
    "KernelMemory": 0,
    "KernelMemoryTCP": 0,
    "Mounts": None,
    "Runtime": "",
    "StorageOpt": None,
    "Sysctls": None,
    "Tmpfs": None,
}
# Keys that are always there -> those that may not be.
_STRUCTS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("OOMKilled", "FinishedAt"), {"Health": None}),
    (("Destination", "RW"), {"Type": "", "Name": "", "Driver": ""}),
    (("AttachStdin", "Cmd"), _CONFIG),
    (("NetworkMode", "Binds"), _HOST_CONFIG),
    (
        ("HostConfig", "NetworkSettings"),
        {"ImageManifestDescriptor": None, "SizeRootFs": None, "SizeRw": None},
    ),
    (
        ("RootFS", "Architecture"),
        {
            "Container": "",
            "ContainerConfig": None,
            "Created": "",
            "Descriptor": None,
            "Manifests": None,
            "OsVersion": "",
            "Variant": "",
            "VirtualSize": 0,
        },
    ),
    (
        ("Mountpoint", "Scope"),
        {"ClusterVolume": None, "CreatedAt": "", "Status": None, "UsageData": None},
    ),
    (("IPAM", "Scope"), {"Peers": None, "Services": None}),
    (("Subnet",), {"AuxAddress": None, "Gateway": "", "IPRange": ""}),
    (
        ("Type", "Target"),
        {
            "BindOptions": None,
            "Consistency": "",
            "ImageOptions": None,
            "ReadOnly": False,
            "Source": "",
            "TmpfsOptions": None,
            "VolumeOptions": None,
        },
    ),
    (
        ("ApiVersion", "MinAPIVersion"),
        {"BuildTime": "", "Experimental": False, "GitCommit": "", "KernelVersion": ""},
    ),
)
# Structs that Go has inside of others, under these names as well.
_EMBEDDED = {
    "ContainerJSONBase": "HostConfig",
    "DefaultNetworkSettings": "SandboxID",
    "NetworkSettingsBase": "SandboxID",
    "Resources": "NanoCpus",
}


class Unknown:
    """What is no field of a struct."""


UNKNOWN = Unknown()


def left_out(owner: dict[str, Any], name: str, above: str) -> Any:
    """The value of the field `name`, which `owner`, itself the field `above` of something, lacks.

    UNKNOWN where it is no field that could be there.
    """
    if _EMBEDDED.get(name) in owner:
        return owner
    if above == "Config" and name in _CONFIG:
        return _CONFIG[name]
    for keys, fields in _STRUCTS:
        if name in fields and all(key in owner for key in keys):
            return fields[name]
    return UNKNOWN


def is_config(owner: dict[str, Any]) -> bool:
    """Of an image or a container: options of log drivers, a `Config` too, are in lower case."""
    return bool(owner) and all(key[:1].isupper() for key in owner)
