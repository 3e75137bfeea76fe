"""Routes of builds: a context in, a stream of what happens out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.messages import Answer, Query, Request, json_response
from tiffin.api.router import Route
from tiffin.api.streams import progress
from tiffin.api.system import read_auth_configs
from tiffin.core.filters import parse_filters
from tiffin.core.reference import parse
from tiffin.engine.builds import BuildOptions
from tiffin.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_CONTEXT_TYPES = ("application/x-tar", "application/tar", "application/octet-stream", "")
