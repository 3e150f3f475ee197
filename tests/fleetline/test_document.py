"""Every setting says what it does, and the page of settings is the one that was written last."""

import re

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from fleetline.document import PAGE, SECURITY_PAGE, docstrings, page, security_page
from fleetline.settings import Settings

ROWS = [row for row in PAGE.read_text("utf-8").splitlines() if row.startswith("| `")]


def test_every_setting_says_what_it_does() -> None:
    assert not [name for name in Settings.model_fields if not docstrings().get(name)]


def test_the_page_is_the_one_that_would_be_written_now() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make docs` and commit docs/settings.md"
    assert SECURITY_PAGE.read_text("utf-8") == security_page(), "run `make docs` and commit docs/kafka-security.md"


def test_the_page_about_security_has_the_table_of_permissions() -> None:
    rows = [row for row in SECURITY_PAGE.read_text("utf-8").splitlines() if row.startswith("| `processors` |")]
    assert len(rows) == 1
    assert "`<prefix>unmapped`" in rows[0]


@pytest.mark.parametrize("number", range(len(Settings.model_fields)))
def test_the_variables_on_the_page_are_those_that_are_read(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    field = list(Settings.model_fields)[number]
    variables = re.findall(r"`([A-Z_]+)`", ROWS[number].split("|")[1])
    assert variables
    for variable in variables:
        with monkeypatch.context() as patched:
            patched.setenv(variable, "nonsense")
            said = _said_of(field)
        assert "nonsense" in said or field in said.lower()


def _said_of(field: str) -> str:
    """Return a setting's value, or why it cannot be read."""
    try:
        value = getattr(Settings(), field)
    except (ValidationError, SettingsError) as error:
        return str(error)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
