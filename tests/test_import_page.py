"""The examples of docs/import.md, run as they stand, in their order."""

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from fleetline.settings import Settings
from registry.exchange.columns import COLUMNS
from registry.store import RegistryStore
from tests.support import environment

PAGE = (Path(__file__).parent.parent / "docs" / "import.md").read_text("utf-8")
PRELUDE = f'fleetline() {{ {sys.executable} -m fleetline "$@"; }}\n'


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def shell(script: str, settings: Settings, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", PRELUDE + script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment(settings)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.stack
def test_the_examples_of_the_page_do_what_it_says(settings: Settings, tmp_path: Path) -> None:
    (table,), (objects,), (said,) = blocks("csv"), blocks("ndjson"), blocks("text")
    first, again, last = blocks("sh")
    (tmp_path / "devices.csv").write_text(table)
    (tmp_path / "devices.ndjson").write_text(objects)
    with RegistryStore(settings, "test") as store:
        tenant = store.create_tenant("Acme")
        dry, real = first.strip().splitlines()
        assert "dry run, nothing is stored: 4 rows: 3 created" in shell(dry, settings, tmp_path).stdout
        assert not store.refresh().devices(tenant.id)
        done = shell(real, settings, tmp_path)
        assert done.returncode == 1
        for line in said.strip().splitlines():
            assert line in done.stdout + done.stderr
        assert (tmp_path / "tokens.csv").read_text().count("\n") == 4
        assert (tmp_path / "report.csv").read_text().count("\n") == 5
        done = shell(again, settings, tmp_path)
        assert done.returncode == 0, done.stderr
        counts = orjson.loads(done.stdout)
        assert (counts["created"], counts["unchanged"], counts["refused"]) == (1, 3, 0)
        assert (tmp_path / "backup.ndjson").read_text().count("\n") == 4
        done = shell(last, settings, tmp_path)
        assert "4 rows: 0 created, 0 updated, 4 unchanged, 0 skipped, 0 refused" in done.stdout, done.stderr


def test_the_page_names_every_column() -> None:
    _, _, columns = PAGE.partition("## Columns")
    assert [name for name in COLUMNS if f"`{name}`" not in columns] == []
