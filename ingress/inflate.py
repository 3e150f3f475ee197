"""Undoes content encodings with a bound on the result. The magic bytes decide, because senders lie (AP-a19)."""

import re
import zlib
from collections.abc import Callable
from typing import Any

import orjson

from ingress.errors import TooLarge, Truncated, UnknownEncoding

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LZ4 = b"\x04\x22\x4d\x18"
_MAGIC = frozenset((_GZIP[0], _ZSTD[0], _LZ4[0]))
_PLAIN = frozenset(("", "identity", "none"))
_COMPRESSED = frozenset(("gzip", "x-gzip", "zstd", "lz4"))
_NOT_PADDING = re.compile(rb"[^\0]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")

_SLICE = 16 * 1024
_ZSTD_SLICE = 128
"""Bytes fed to zstd at a time: four of them can stand for 128 KiB, so a bomb is noticed 4 MiB over the limit, not 32."""
_MOST_FRAMES = 4096
"""Clients flush a frame per 64 KiB or per message. Opening one costs about as much as inflating 10 KiB."""
_ANY_RATIO = 8 * 1024 * 1024
_LARGEST_RATIO = 200
"""Beyond `_ANY_RATIO` a body may grow this much: where the limit was raised, a small bomb must not cost all of it."""


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the body with its content encoding removed, at most `limit` bytes.

    A body that begins with the magic of gzip, zstd or lz4 is inflated whatever its header says; text whose header names a
    known encoding is taken as it is. Raises Truncated for a broken stream, TooLarge for a bomb, UnknownEncoding (AP-c06)
    for an encoding that neither the header nor the magic explains.
    """
    if not body or (not encoding and body[0] not in _MAGIC):
        return body
    limit = min(limit, max(_ANY_RATIO, _LARGEST_RATIO * len(body)))
    if body.startswith(_GZIP):
        return _frames(body, limit, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16))
    if body.startswith(_ZSTD):
        return _frames(body, limit, _zstd(limit), _ZSTD_SLICE)
    if body.startswith(_LZ4):
        return _frames(body, limit, _lz4)
    return _without_magic(body, encoding.strip().lower(), limit)


def _without_magic(body: bytes, named: str, limit: int) -> bytes:
    if named in _PLAIN:
        return body
    if named == "deflate":
        return _deflate(body, limit)
    if named not in _COMPRESSED:
        raise UnknownEncoding(f"content encoding {named[:40]!r} is not known; use gzip, deflate, zstd, lz4 or none")
    if _is_text(body):
        return body
    raise Truncated(f"the body is not {named}, though its content encoding says so")


def _is_text(body: bytes) -> bool:
    try:
        return _CONTROL.search(body.decode()) is None
    except UnicodeDecodeError:
        return False


def _deflate(body: bytes, limit: int) -> bytes:
    """HTTP's deflate is zlib by the book and raw deflate in the field; what looks like JSON is taken as it is.

    Without a magic, other text cannot be told from a stream that breaks off. Short JSON can be a whole raw stream by
    chance (`[]` and a line end is one), so what is JSON already comes first.
    """
    looks_plain = body.lstrip()[:1] in (b"{", b"[", b'"')
    if looks_plain and _is_json(body):
        return body
    for window_bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        stream = zlib.decompressobj(window_bits)
        try:
            made = stream.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(made) > limit:
            raise TooLarge(f"the body inflates to more than {limit} bytes")
        if stream.eof and not stream.unused_data:
            return made
    if looks_plain:
        return body
    raise Truncated("the body is not deflate, though its content encoding says so")


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _frames(body: bytes, limit: int, begin: Callable[[], Any], slice_size: int = _SLICE) -> bytes:
    """Inflate one or several frames (gzip: members); the checksum of each is verified. Zeros between them are padding.

    Fed in slices: a decompressor copies what stands behind its frame, so feeding the whole rest would make a body of
    empty frames block the loop for minutes.
    """
    out = bytearray()
    at = frames = 0
    while at < len(body):
        frames += 1
        if frames > _MOST_FRAMES:
            raise TooLarge(f"the body is compressed in more than {_MOST_FRAMES} frames")
        stream = begin()
        while not stream.eof:
            if at >= len(body):
                raise Truncated("the compressed body breaks off")
            piece = body[at : at + slice_size]
            try:
                out += stream.decompress(piece, limit - len(out) + 1)
            except (zlib.error, RuntimeError) as error:
                raise Truncated(f"broken compressed body: {error}") from None
            if len(out) > limit:
                raise TooLarge(f"the body inflates to more than {limit} bytes")
            at += len(piece)
        at -= len(stream.unused_data or b"")
        after = _NOT_PADDING.search(body, at)
        at = after.start() if after else len(body)
    return bytes(out)


def _lz4() -> Any:
    import lz4.frame

    return lz4.frame.LZ4FrameDecompressor()


class _Zstd:
    """zstd's decompressor in the shape of the others: it knows no bound of its own, therefore the small slices."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, piece: bytes, _: int) -> bytes:
        import zstandard

        try:
            return bytes(self._stream.decompress(piece))
        except zstandard.ZstdError as error:
            raise Truncated(f"broken compressed body: {error}") from None


def _zstd(limit: int) -> Callable[[], _Zstd]:
    """Return what begins a frame. RFC 9659 allows a window of 8 MiB; one of a whole large body is as good as that."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=max(limit, _ANY_RATIO))
    return lambda: _Zstd(decompressor.decompressobj())
