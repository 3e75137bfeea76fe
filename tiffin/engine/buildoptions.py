"""What a client may ask of a build. Not with the builder, which is loaded when first needed."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tiffin.core.container import HostConfig
from tiffin.registry.credentials import AuthSource


class BuildOptions(msgspec.Struct, frozen=True):
    """The query of POST /build, decoded. `host_config` is for RUN: network mode, limits, hosts."""

    dockerfile: str = ""  # path in the context; "" is Dockerfile
    dockerfile_text: bytes | None = None  # instead of a file in the context
    tags: tuple[str, ...] = ()
    build_args: Mapping[str, str | None] = msgspec.field(
        default_factory=dict
    )  # None: not set after all
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    target: str = ""
    platform: str = ""
    no_cache: bool = False
    pull: bool = False
    quiet: bool = False
    squash: bool = False
    remote: str = ""
    host_config: HostConfig = msgspec.field(default_factory=HostConfig)
    auth: AuthSource = None  # for pulls
