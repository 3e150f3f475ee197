"""docs/admin-api.md: its commands do what it says, pasted in order into one shell."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import admin.access
from tests.admin.service import ADMIN_TOKEN, Service

PAGE = (Path(__file__).parent.parent.parent / "docs" / "admin-api.md").read_text("utf-8")


@pytest.mark.stack
@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_the_pages_commands_do_what_it_says(service: Service) -> None:
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
    assert script.count("curl ") == 10
    environment = {"FLEETLINE_ADMIN_TOKEN": ADMIN_TOKEN, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("http://127.0.0.1:8081", service.url)],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"token":' in done.stdout
    assert '"colour":"red"' in done.stdout
    assert done.stdout.count('"outcome":"created"') == 2
    listed = service.operator.get("/api/v1/tenants/acme/devices").json()["items"]
    assert {each["name"] for each in listed} == {"Van 7", "Gate 1", "Trailer 4"}


def test_the_page_names_every_kind_of_problem() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(admin.access.__file__).parent.rglob("*.py"))
    kinds = set(re.findall(r'(?:Problem|problem)\(\s*\d{3},\s*"([a-z-]+)"', source)) | {"unavailable", "sealing"}
    kinds -= {"method", "unexpected"}
    assert len(kinds) > 7
    assert not [each for each in kinds if f"`{each}`" not in PAGE]
