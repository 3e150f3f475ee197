"""Undoes content encodings with a bound on the result. The magic bytes decide, because senders lie (AP-a19)."""

import zlib

from ingress.errors import TooLarge, Truncated, UnknownEncoding

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LZ4 = b"\x04\x22\x4d\x18"
_MAGIC = frozenset((_GZIP[0], _ZSTD[0], _LZ4[0]))
_PLAIN = frozenset(("", "identity", "none"))
_SLICE = 128
"""Bytes fed to zstd at a time: four of them can stand for 128 KiB, so a bomb is noticed 4 MiB over the limit, not 32."""


def inflate(body: bytes, encoding: str, limit: int) -> bytes:  # noqa: PLR0911  one return per encoding
    """Return the body with its content encoding removed, at most `limit` bytes.

    A body that begins with the magic of gzip, zstd or lz4 is inflated whatever its header says; one whose header names an
    encoding but that is plain JSON or CBOR is taken as it is. Raises Truncated for a broken stream, TooLarge for a bomb,
    UnknownEncoding (AP-c06) for an encoding that neither the header nor the magic explains.
    """
    if not body or (not encoding and body[0] not in _MAGIC):
        return body
    named = encoding.strip().lower()
    if body.startswith(_GZIP):
        return _zlib(body, limit, zlib.MAX_WBITS | 16)
    if body.startswith(_ZSTD):
        return _zstd(body, limit)
    if body.startswith(_LZ4):
        return _lz4(body, limit)
    if named in _PLAIN:
        return body
    if named == "deflate":
        return _deflate(body, limit)
    if named in {"gzip", "x-gzip", "zstd", "lz4", "br"} and _looks_plain(body):
        return body
    if named in {"gzip", "x-gzip", "zstd", "lz4"}:
        raise Truncated(f"the body is not {named}, though its content encoding says so")
    raise UnknownEncoding(f"content encoding {encoding[:40]!r} is not known; use gzip, deflate, zstd, lz4 or none")


def _looks_plain(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[", b'"')


def _deflate(body: bytes, limit: int) -> bytes:
    """HTTP's deflate is zlib by the book and raw deflate in the field; a plain body is taken as it is."""
    for window_bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            return _zlib(body, limit, window_bits)
        except Truncated:
            continue
    if _looks_plain(body):
        return body
    raise Truncated("the body is not deflate, though its content encoding says so")


def _zlib(body: bytes, limit: int, window_bits: int) -> bytes:
    """Inflate one or several gzip members; the checksum of each is verified."""
    parts: list[bytes] = []
    total = 0
    rest = body
    while rest:
        stream = zlib.decompressobj(window_bits)
        try:
            made = stream.decompress(rest, limit - total + 1)
        except zlib.error as error:
            raise Truncated(f"broken compressed body: {error}") from None
        total += len(made)
        if total > limit:
            raise TooLarge(f"the body inflates to more than {limit} bytes")
        if not stream.eof:
            raise Truncated("the compressed body breaks off")
        parts.append(made)
        rest = stream.unused_data
        if rest and window_bits <= zlib.MAX_WBITS:
            raise Truncated("bytes behind the end of the compressed body")
        rest = rest.lstrip(b"\0")
    return b"".join(parts)


def _zstd(body: bytes, limit: int) -> bytes:
    """Inflate one or several frames. Fed in small slices: a frame need not declare its size, and may lie about it."""
    import zstandard

    out = bytearray()
    rest = body
    while rest:
        stream = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
        fed = 0
        try:
            while fed < len(rest) and not stream.eof:
                out += stream.decompress(rest[fed : fed + _SLICE])
                fed += _SLICE
                if len(out) > limit:
                    raise TooLarge(f"the body inflates to more than {limit} bytes")
        except zstandard.ZstdError as error:
            raise Truncated(f"broken compressed body: {error}") from None
        if not stream.eof:
            raise Truncated("the compressed body breaks off")
        rest = stream.unused_data + rest[fed:]
    return bytes(out)


def _lz4(body: bytes, limit: int) -> bytes:
    """Inflate several lz4 frames: clients flush a frame per 64 KiB, and one-frame decoders drop the rest silently."""
    import lz4.frame

    parts: list[bytes] = []
    room = limit
    rest = body
    while rest:
        stream = lz4.frame.LZ4FrameDecompressor()
        try:
            made: bytes = stream.decompress(rest, max_length=room + 1)
        except RuntimeError as error:
            raise Truncated(f"broken compressed body: {error}") from None
        room -= len(made)
        if room < 0:
            raise TooLarge(f"the body inflates to more than {limit} bytes")
        if not stream.eof:
            raise Truncated("the compressed body breaks off")
        parts.append(made)
        rest = stream.unused_data or b""
    return b"".join(parts)
