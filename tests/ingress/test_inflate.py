"""Content encodings: what went in comes out, and nothing else than a declared error ever does."""

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from ingress.errors import RejectedRequest, TooLarge
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


@pytest.mark.parametrize("encoding", list(ENCODERS))
@given(body=st.binary(min_size=1, max_size=LIMIT))
def test_what_was_compressed_comes_back(encoding: str, body: bytes) -> None:
    assert inflate(ENCODERS[encoding](body), encoding, LIMIT) == body


@given(st.binary(min_size=1, max_size=LIMIT))
def test_raw_deflate_comes_back(body: bytes) -> None:
    assert inflate(raw_deflate(body), "deflate", LIMIT) == body


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_several_frames_are_all_read(encoding: str) -> None:
    assert inflate(ENCODERS[encoding](b"ab") * 3, encoding, LIMIT) == b"ababab"


@pytest.mark.parametrize("encoding", list(ENCODERS))
def test_a_bomb_is_too_large(encoding: str) -> None:
    with pytest.raises(TooLarge):
        inflate(ENCODERS[encoding](b"0" * 50_000_000), encoding, LIMIT)


@given(
    st.binary(max_size=2_000),
    st.sampled_from(["", "gzip", "deflate", "zstd", "lz4", "br", "GZIP ", "\xff", "identity"]),
)
@example(b"\x1f\x8b", "")
@example(b"\x28\xb5\x2f\xfd", "zstd")
@example(b"\x04\x22\x4d\x18", "lz4")
def test_any_bytes_give_a_bounded_body_or_a_declared_error(body: bytes, encoding: str) -> None:
    try:
        assert len(inflate(body, encoding, LIMIT)) <= LIMIT
    except RejectedRequest as error:
        status = error.status
    else:
        status = 200
    assert status in {200, 400, 413, 415}
