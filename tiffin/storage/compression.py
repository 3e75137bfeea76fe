"""Compressed streams, told by their first bytes and decoded in-process with bounded memory.

Runs in the jail too. A decoder's module is imported when `decoder_for` is called, never later, so
a caller that is about to chroot asks first. Raises InvalidArgument for a stream that is corrupt or
ends too early.
"""

from __future__ import annotations

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False  # typing's own, without the 5 ms that importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Chunks = Iterator[bytes]
    Decoder = Callable[[Chunks], Chunks]

CHUNK_BYTES = 1 << 20
MAGIC_BYTES = 6
_MAX_ZSTD_WINDOW = 1 << 27  # what zstd itself accepts without --long
_ZSTD_FEED_BYTES = 8192  # a frame of zeros grows 32,768 times: 256 MiB at most from one feed


def name_of(first: bytes) -> str:
    """ "gzip", "zstd", "bzip2", "xz" or "" by the magic number at the start of a stream."""
    if first.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    # A skippable frame (0x184D2A5?) may come before the first real one.
    if first.startswith(b"\x28\xb5\x2f\xfd") or (
        first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50
    ):
        return "zstd"
    if first.startswith(b"BZh"):
        return "bzip2"
    if first.startswith(b"\xfd7zXZ\0"):
        return "xz"
    return ""


def load_decoders() -> None:
    """Import every decoder's module, for a caller that leaves the file system before it reads."""
    for module in ("isal.isal_zlib", "zstandard", "bz2", "lzma"):
        __import__(module)


def decoder_for(first: bytes) -> Decoder:
    """The decoder for a stream that starts with `first`, its module imported."""
    name = name_of(first)
    if name == "gzip":
        from isal import isal_zlib  # noqa: PLC0415 - only what the stream needs

        return lambda chunks: _frames(chunks, lambda: isal_zlib.decompressobj(31), name)
    if name == "zstd":
        import zstandard  # noqa: PLC0415 - only what the stream needs

        return lambda chunks: _zstd(chunks, zstandard)
    if name == "bzip2":
        import bz2  # noqa: PLC0415 - only what the stream needs

        return lambda chunks: _frames(chunks, lambda: _Fed(bz2.BZ2Decompressor()), name)
    if name == "xz":
        import lzma  # noqa: PLC0415 - only what the stream needs

        return lambda chunks: _frames(chunks, lambda: _Fed(lzma.LZMADecompressor()), name)
    return lambda chunks: chunks


class _Fed:
    """bz2's and lzma's decoders look like zlib's: they keep unread input themselves."""

    def __init__(self, decoder: Any):
        self._decoder = decoder
        self.unconsumed_tail = b""

    def decompress(self, data: bytes, limit: int) -> bytes:
        out: bytes = self._decoder.decompress(data, limit)
        return out

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def pending(self) -> bool:
        return not self._decoder.eof and not self._decoder.needs_input

    @property
    def unused_data(self) -> bytes:
        data: bytes = self._decoder.unused_data
        return data


def _frames(chunks: Chunks, new: Callable[[], Any], name: str) -> Chunks:
    """One or more compressed members, one after the other; zero padding may follow the last."""
    decoder = new()
    started = ended = False
    for chunk in chunks:
        data = chunk
        while data:
            if ended:
                if not data.strip(b"\0"):
                    break
                decoder, ended = new(), False
            started = True
            yield from _decoded(decoder, data, name)
            data = b""
            if decoder.eof:
                data, ended = decoder.unused_data, True
    if started and not ended:
        raise InvalidArgument(f"corrupt {name} stream: unexpected EOF")


def _decoded(decoder: Any, data: bytes, name: str) -> Chunks:
    try:
        out = decoder.decompress(data, CHUNK_BYTES)
        while out:
            yield out
            if decoder.eof:
                return
            tail = decoder.unconsumed_tail
            if not tail and not getattr(decoder, "pending", len(out) >= CHUNK_BYTES):
                return
            out = decoder.decompress(tail, CHUNK_BYTES)
    except InvalidArgument:
        raise
    except (OSError, EOFError, ValueError) as error:
        raise InvalidArgument(f"corrupt {name} stream: {error}") from error
    except Exception as error:
        # zlib.error, isal_zlib.error, lzma.LZMAError have no common base but Exception.
        if type(error).__name__ not in ("error", "IsalError", "LZMAError", "ZstdError"):
            raise
        raise InvalidArgument(f"corrupt {name} stream: {error}") from error


class _Whole:
    """zstandard's decoder knows no limit for what one call gives, so it is fed little at a time."""

    def __init__(self, decoder: Any):
        self._decoder = decoder
        self.unconsumed_tail = b""
        self.pending = False

    def decompress(self, data: bytes, _limit: int) -> bytes:
        out: bytes = self._decoder.decompress(data)
        return out

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        data: bytes = self._decoder.unused_data
        return data


def _zstd(chunks: Chunks, zstandard: Any) -> Chunks:
    context = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
    return _joined(_frames(_sliced(chunks), lambda: _Whole(context.decompressobj()), "zstd"))


def _sliced(chunks: Chunks) -> Chunks:
    for chunk in chunks:
        for at in range(0, len(chunk), _ZSTD_FEED_BYTES):
            yield chunk[at : at + _ZSTD_FEED_BYTES]


def _joined(chunks: Chunks) -> Chunks:
    """Small chunks put together: what reads them has a price for each."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= CHUNK_BYTES // 2:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)
