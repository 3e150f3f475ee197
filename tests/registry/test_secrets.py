"""Secrets: unguessable, and digested whatever a stranger sends."""

import re
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from registry.secrets import digest, new_secret


def test_secrets_have_256_bits_in_url_safe_characters() -> None:
    made = {new_secret() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{42}", secret) for secret in made)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_every_text_has_a_digest(secret: str) -> None:
    assert re.fullmatch("[0-9a-f]{64}", digest(secret))


def test_the_digest_is_sha256_of_utf8() -> None:
    assert digest("grün") == sha256("grün".encode()).hexdigest()
    assert digest("\udc80") != digest("?")
