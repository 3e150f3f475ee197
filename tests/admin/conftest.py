"""The admin API on a real port before the real Kafka."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket

from fleetline.settings import Settings
from schemas.ids import new_id
from tests.admin.service import Service, serving


@pytest.fixture(scope="module")
def service(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serve a registry of the module's own."""
    pytest_socket.enable_socket()
    folder: Path = tmp_path_factory.mktemp("admin")
    settings = stack.model_copy(update={"topic_prefix": f"a{new_id()[-12:]}.", "data_dir": folder})
    with serving(settings) as running:
        yield running
