"""Content encodings: what went in comes out, and nothing else than a declared error ever does."""

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ingress.errors import RejectedRequest, TooLarge, Truncated, UnknownEncoding
from ingress.inflate import inflate

LIMIT = 10_000
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
}


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


def zstd_of_unknown_size(body: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(body) + stream.flush()


STREAMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    **{name: (name, compress) for name, compress in ENCODERS.items()},
    "raw deflate": ("deflate", raw_deflate),
    "zstd of unknown size": ("zstd", zstd_of_unknown_size),
}
EVERY = pytest.mark.parametrize(("encoding", "compress"), list(STREAMS.values()), ids=list(STREAMS))
FRAMED = {name: stream for name, stream in STREAMS.items() if stream[0] != "deflate"}


@EVERY
@given(body=st.binary(min_size=1, max_size=LIMIT))
def test_what_was_compressed_comes_back(encoding: str, compress: Callable[[bytes], bytes], body: bytes) -> None:
    assert inflate(compress(body), encoding, LIMIT) == body


@pytest.mark.parametrize(("encoding", "compress"), list(FRAMED.values()), ids=list(FRAMED))
@given(parts=st.lists(st.binary(max_size=500), min_size=1, max_size=6))
def test_several_frames_are_all_read(encoding: str, compress: Callable[[bytes], bytes], parts: list[bytes]) -> None:
    assert inflate(b"".join(map(compress, parts)), encoding, LIMIT) == b"".join(parts)


@EVERY
def test_the_limit_is_exact(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    assert len(inflate(compress(b"0" * LIMIT), encoding, LIMIT)) == LIMIT
    with pytest.raises(TooLarge):
        inflate(compress(b"0" * (LIMIT + 1)), encoding, LIMIT)


@pytest.mark.parametrize(("encoding", "compress"), list(FRAMED.values()), ids=list(FRAMED))
def test_the_limit_counts_all_frames_together(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    frame = compress(b"0" * (LIMIT // 2))
    assert len(inflate(frame * 2, encoding, LIMIT)) == LIMIT
    with pytest.raises(TooLarge):
        inflate(frame * 3, encoding, LIMIT)


@EVERY
def test_a_bomb_is_too_large_and_costs_no_memory(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(b"0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            inflate(bomb, encoding, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@EVERY
@given(data=st.data(), body=st.binary(min_size=50, max_size=400))
def test_a_stream_that_breaks_off_is_never_taken_for_a_whole_one(
    encoding: str, compress: Callable[[bytes], bytes], data: st.DataObject, body: bytes
) -> None:
    whole = compress(body)
    assume(encoding != "deflate" or whole.lstrip()[:1] not in (b"{", b"[", b'"'))  # has no magic: taken as plain JSON
    cut = data.draw(st.integers(4, len(whole) - 1))
    with pytest.raises(Truncated):
        inflate(whole[:cut], encoding, LIMIT)


def inflated_or_rejected(body: bytes, encoding: str) -> bytes:
    """Return what was made of the body, nothing if it was refused as declared; any other error passes."""
    try:
        return inflate(body, encoding, LIMIT)
    except RejectedRequest as error:
        status = error.status
    assert status in {400, 413, 415}
    return b""


@EVERY
@given(data=st.data(), body=st.binary(min_size=1, max_size=400))
def test_a_damaged_stream_gives_a_bounded_body_or_a_declared_error(
    encoding: str, compress: Callable[[bytes], bytes], data: st.DataObject, body: bytes
) -> None:
    damaged = bytearray(compress(body))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    assert len(inflated_or_rejected(bytes(damaged), encoding)) <= LIMIT


@pytest.mark.parametrize("position", [-1, -5])
def test_a_wrong_checksum_or_length_is_truncated(position: int) -> None:
    damaged = bytearray(gzip.compress(b"body"))
    damaged[position] ^= 0xFF
    with pytest.raises(Truncated):
        inflate(bytes(damaged), "gzip", LIMIT)


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, br", "\xff"])
def test_an_encoding_nobody_knows_is_named_as_such(encoding: str) -> None:
    with pytest.raises(UnknownEncoding):
        inflate(b"\x99abc", encoding, LIMIT)


@given(
    st.binary(max_size=2_000),
    st.sampled_from(["", "gzip", "deflate", "zstd", "lz4", "br", "GZIP ", "\xff", "identity"]),
)
@example(b"\x1f\x8b", "")
@example(b"\x28\xb5\x2f\xfd", "zstd")
@example(b"\x04\x22\x4d\x18", "lz4")
def test_any_bytes_give_a_bounded_body_or_a_declared_error(body: bytes, encoding: str) -> None:
    assert len(inflated_or_rejected(body, encoding)) <= LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_a_body_of_empty_frames_is_refused_at_once(encoding: str) -> None:
    frame = ENCODERS[encoding](b"")
    body = frame * (2_000_000 // len(frame))
    started = time.process_time()
    with pytest.raises(TooLarge):
        inflate(body, encoding, LIMIT)
    spent = time.process_time() - started
    assert spent < 0.5  # meanwhile nobody else is served; read from the whole rest each time, gzip took 2.3 s


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd"])
def test_frames_longer_than_a_slice_are_read_whole(encoding: str) -> None:
    body = bytes(range(256)) * 400 + zlib.compress(bytes(range(256)) * 9) * 3_000
    assert inflate(ENCODERS[encoding](body) * 3, encoding, 10 * len(body)) == body * 3


def test_padding_behind_a_stream_is_passed_over() -> None:
    assert inflate(gzip.compress(b"body") + bytes(1_000_000), "gzip", LIMIT) == b"body"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
@pytest.mark.parametrize("body", [b"a=1&b=2", b"not json at all", "Größe: 1".encode(), b'[{"a": 1}]'])
def test_text_under_a_lying_header_is_taken_as_it_is(encoding: str, body: bytes) -> None:  # AP-a19
    assert inflate(body, encoding, LIMIT) == body


@pytest.mark.parametrize("body", [b"[]\n ", b"{}\n ", b'[{"a": 1}]', b' {"a": '])
def test_json_under_deflate_is_taken_as_it_is(body: bytes) -> None:  # the first two are whole raw streams by chance
    assert inflate(body, "deflate", LIMIT) == body


@pytest.mark.parametrize("encoding", ["br", "utf-8"])
def test_an_unknown_encoding_is_not_made_good_by_a_plain_body(encoding: str) -> None:  # AP-c06
    with pytest.raises(UnknownEncoding):
        inflate(b'[{"a": 1}]', encoding, LIMIT)


def test_a_small_bomb_does_not_get_the_whole_of_a_raised_limit() -> None:
    bomb = gzip.compress(bytes(30_000_000))
    with pytest.raises(TooLarge):
        inflate(bomb, "gzip", 100_000_000)  # AP-a18
    assert len(inflate(gzip.compress(bytes(5 * 1024 * 1024)), "gzip", 100_000_000)) == 5 * 1024 * 1024  # AP-a20
