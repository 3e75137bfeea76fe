"""Labels: free words that users hang on things. Kept in memory, and told with every list."""

from __future__ import annotations

from collections.abc import Mapping

from tiffin.errors import InvalidArgument

MAX_BYTES = 1 << 20  # four times what Kubernetes allows


def check_labels(labels: Mapping[str, str] | None) -> None:
    """Raises InvalidArgument for more than there is room for."""
    size = sum(len(key) + len(value) for key, value in (labels or {}).items())
    if size > MAX_BYTES:
        raise InvalidArgument(f"labels are too large: {size} bytes, and {MAX_BYTES} are allowed")
