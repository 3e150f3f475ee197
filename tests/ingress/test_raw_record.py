"""A request as a Kafka record and back."""

from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from sources.contract import Request
from sources.flespi import SOURCE
from sources.raw_record import raw_headers, request_from_raw

OURS = [
    topics.RECORD_ID, topics.RECEIVED_US, topics.TENANT, topics.CREDENTIAL, topics.DEVICE, topics.TRANSPORT, topics.METHOD,
    topics.PATH, topics.QUERY, topics.CONTENT_TYPE, topics.CAPTURED + "x-unit", topics.CAPTURED, topics.PATH_PART + "serial",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    texts=st.tuples(*[TEXT] * 7),
    query=st.dictionaries(TEXT.filter(bool), TEXT, max_size=4),
    parts=st.dictionaries(st.sampled_from(["serial", "unit"]), TEXT, max_size=2),
    received_us=st.integers(1, 10**17),
)
def test_what_was_written_is_read_back(
    texts: tuple[str, ...], query: dict[str, str], parts: dict[str, str], received_us: int
) -> None:
    record_id, tenant, credential, device, path, content_type, body = texts
    sent = Request(
        body=body.encode(),
        method="PUT",
        path=path,
        path_params=parts,
        query=query,
        content_type=content_type,
        received_us=received_us,
        record_id=record_id,
        tenant_id=tenant,
        credential_id=credential,
        device_id=device,
        topic="t",
        partition=3,
        offset=7,
    )
    read = request_from_raw(raw_headers(sent, SOURCE), sent.body, "t", 3, 7)
    assert (dict(read.query), dict(read.path_params)) == (query, parts)
    for name in (
        "method",
        "path",
        "content_type",
        "received_us",
        "record_id",
        "tenant_id",
        "credential_id",
        "device_id",
    ):
        assert getattr(read, name) == getattr(sent, name)
    assert (read.body, read.topic, read.partition, read.offset) == (sent.body, "t", 3, 7)


@given(
    st.none()
    | st.lists(
        st.tuples(
            st.sampled_from(OURS) | st.text(max_size=20),
            st.none() | st.binary(max_size=60) | st.from_regex(rb"[0-9]{1,5000}", fullmatch=True),
        ),
        max_size=12,
    )
)
def test_foreign_headers_never_raise(headers: list[tuple[str, bytes]] | None) -> None:
    read = request_from_raw(headers, b"", "t", 0, 0)
    assert 0 <= read.received_us < 2**63  # more would not fit the canonical record
