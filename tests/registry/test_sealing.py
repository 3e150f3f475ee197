"""Sealing: what is read back is what was sealed, and nobody without the key reads it."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from fleetline.settings import Settings
from registry.errors import SealingError
from registry.sealing import KEY_FILE, seal, unseal


def keyed(tmp_path: Path, key: str = "") -> Settings:
    given_values: dict[str, Any] = {"data_dir": tmp_path, "secret_key": SecretStr(key)}
    return Settings(**given_values)


@given(plain=st.text(alphabet=st.characters(exclude_categories=())))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_every_text_comes_back(tmp_path: Path, plain: str) -> None:
    given_settings = keyed(tmp_path)
    sealed = seal(given_settings, plain)
    assert unseal(given_settings, sealed) == plain
    assert not plain or sealed != plain


def test_the_same_text_is_sealed_differently_each_time(tmp_path: Path) -> None:
    assert seal(keyed(tmp_path), "psk") != seal(keyed(tmp_path), "psk")


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    seal(keyed(tmp_path / "new" / "data"), "psk")
    path = tmp_path / "new" / "data" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [KEY_FILE]


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from fleetline.settings import Settings; from registry.sealing import seal;"
        "sys.stdin.readline(); print(seal(Settings(data_dir=Path(sys.argv[1])), 'psk'))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for process in started:  # all of them are waiting before the first may go
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    sealed = [process.communicate()[0].strip() for process in started]
    assert [unseal(keyed(tmp_path), each) for each in sealed] == ["psk"] * 6


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(Fernet.generate_key().decode(), id="a Fernet key"),
        "a random text of some cluster",
        pytest.param("ünïcode" * 5, id="not ASCII"),
    ],
)
def test_a_configured_key_needs_no_file(tmp_path: Path, key: str) -> None:
    assert unseal(keyed(tmp_path, key), seal(keyed(tmp_path, key), "psk")) == "psk"
    assert not list(tmp_path.iterdir())


def test_another_key_or_an_altered_text_opens_nothing(tmp_path: Path) -> None:
    sealed = seal(keyed(tmp_path, "one random text of 16"), "psk")
    for key, text in (
        ("another random text of 16", sealed),
        ("one random text of 16", sealed[:-4] + "AAA="),
        ("x" * 16, "\udc80"),
    ):
        with pytest.raises(SealingError, match="FLEETLINE_SECRET_KEY"):
            unseal(keyed(tmp_path, key), text)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealingError, match="shorter"):
        seal(keyed(tmp_path, "hunter2"), "psk")


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("not a key", encoding="utf-8")
    with pytest.raises(SealingError, match=KEY_FILE):
        seal(keyed(tmp_path), "psk")


def test_the_key_does_not_show(tmp_path: Path) -> None:
    assert "hunter2" not in repr(keyed(tmp_path, "hunter2"))
