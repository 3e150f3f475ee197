"""Device tokens inside bodies: no spelling of the key and no kind of body lets one into storage, and nothing else changes."""

import hashlib
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.catalog import load_source
from sources.sealed_token import seal_cbor, seal_json, token_digest

SECRET = "s3cret-Token_42"


def sealed(token: str) -> str:
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def spelled(key: str, mask: int) -> str:
    """Write the letters of a key that `mask` names as escapes, the others as themselves."""
    return "".join(f"\\u{ord(c):04x}" if mask >> i & 1 else c for i, c in enumerate(key))


@given(mask=st.integers(0, 2**11 - 1), upper=st.booleans())
def test_a_key_spelled_with_escapes_is_the_same_key(mask: int, upper: bool) -> None:
    key = spelled("deviceToken", mask)
    key = key.replace("\\u006", "\\u006").replace("6b", "6B").replace("6f", "6F") if upper else key
    body = f'{{"{key}": "{SECRET}", "name": "\\u00fc\\\\u0054", "temperature": 1.50}}'.encode()
    stored = seal_json(body)
    assert SECRET.encode() not in stored
    assert orjson.loads(stored) == {**orjson.loads(body), "deviceToken": sealed(SECRET)}
    assert b"1.50" in stored  # what is no token stays as it was written


@pytest.mark.parametrize(
    "body",
    [
        f'{{"deviceToken": "{SECRET}", "deviceToken": "{SECRET}2"}}',
        f'{{"deviceToken": "x", "device\\u0054oken": "{SECRET}"}}',
        f'[{{"deviceToken": "{SECRET}"}}, {{"a": {{"deviceToken"\n:\t"{SECRET}"}}}}]',
        f'{{"deviceToken": ["{SECRET}"], "n": 1}}',
        f'{{"deviceToken": {{"a": ["]", "{SECRET}"]}}, "n": 1}}',
        f'{{"note": "deviceToken", "deviceToken": "{SECRET}"}}',
        f'{{"raw": "{{\\"deviceToken\\":\\"{SECRET}\\"}}"}}',
        f'{{"deviceToken": "{SECRET}',  # broken off
        f'{{"deviceToken": "{SECRET}\\',
        f'{{"deviceToken": "{SECRET}", ',
        f"{{'deviceToken': '{SECRET}'}}",
        f"deviceToken={SECRET}&temperature=1",
        f'{{"deviceToken": ["{SECRET}',
        f"deviceToken: {SECRET}\n",
    ],
)
def test_no_token_is_left_however_it_stands(body: str) -> None:
    stored = seal_json(body.encode())
    assert SECRET.encode() not in stored
    assert seal_json(stored) == stored
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    orjson.loads(stored)


@pytest.mark.parametrize(
    "body",
    [
        b'{"temperature": 1.50, "x": "\\u00fc \\u0041"}',
        b'{"deviceToken": null, "externalDeviceId": "1", "n": 1}',
        b'{"deviceToken": true, "deviceToken": false}',
        b'{"note": "the deviceToken is secret", "list": ["deviceToken"]}',
        b'{"deviceToken": ""}',
        b"\xff\xfedeviceToken",
        b"",
    ],
)
def test_what_holds_no_token_stays_as_it_is(body: bytes) -> None:
    assert seal_json(body) == body


def test_a_number_is_a_token_too() -> None:
    assert orjson.loads(seal_json(b'{"deviceToken": 123456, "n": 1}')) == {"deviceToken": sealed("123456"), "n": 1}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.text(max_size=6)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["deviceToken", "a", "ü", 'dev"iceToken', "\\"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def tokens(value: Any) -> list[Any]:
    if isinstance(value, dict):
        own = [each for key, each in value.items() if key == "deviceToken"]
        return own + [token for each in value.values() for token in tokens(each)]
    return [token for each in value for token in tokens(each)] if isinstance(value, list) else []


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(each) for key, each in value.items() if key != "deviceToken"}
    return [without(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=400, deadline=None)
@given(value=VALUES)
def test_any_json_is_sealed_and_nothing_else_is_touched(value: Any) -> None:
    stored = orjson.loads(seal_json(orjson.dumps(value)))
    assert without(stored) == without(value)
    for token in tokens(stored):
        assert token is None or isinstance(token, bool) or not token or token.startswith("sha256:")


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=60), at=st.integers(0, 60))
def test_any_bytes_can_be_sealed(body: bytes, at: int) -> None:
    for name in (b'"deviceToken":"', b"deviceToken", b"\x6bdeviceToken"):
        mixed = body[:at] + name + body[at:]
        assert isinstance(seal_json(mixed), bytes)
        assert isinstance(seal_cbor(mixed), bytes)


@given(token=st.text(max_size=300), more=st.dictionaries(st.text(max_size=3), st.integers(), max_size=4))
def test_a_token_in_cbor_is_sealed_and_the_rest_stays(token: str, more: dict[str, int]) -> None:
    seal = load_source("device").seal
    expected = token if not token or token.startswith("sha256:") else sealed(token)
    value = {**more, "deviceToken": token, "telemetry": {"n": 1}}
    assert cbor2.loads(seal(cbor2.dumps(value))) == {**value, "deviceToken": expected}
    assert cbor2.loads(seal(cbor2.dumps([value, value]))) == [{**value, "deviceToken": expected}] * 2
    assert orjson.loads(seal(orjson.dumps({"deviceToken": token}))) == {"deviceToken": expected}


def test_sealing_a_body_of_megabytes_takes_no_time_worth_mentioning() -> None:
    import time

    body = orjson.dumps([{"deviceToken": f"token-{n}", "name": "Müller"} for n in range(20_000)])
    hostile = b'{"a":"' + b"\\u0041" * 300_000 + b'", "deviceToken": [' + b'"x",' * 200_000 + b"1]}"
    opened = (b'"deviceToken":[],' * 100_000, b'"deviceToken":[' * 100_000, b'"deviceToken":' * 100_000)
    for each in (body, hostile, *opened):
        started = time.process_time()
        seal_json(each)
        assert time.process_time() - started < 3
    started = time.process_time()
    seal_cbor(cbor2.dumps([{"deviceToken": "x"}] * 100_000))
    assert time.process_time() - started < 3


def test_a_digest_is_its_own_digest() -> None:
    assert token_digest(sealed(SECRET)) == token_digest(SECRET)
