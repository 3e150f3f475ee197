"""Settings for commands that talk to a running stack: the environment first, then what the local stack says of itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetline.errors import FleetlineError
from fleetline.secret_files import SUFFIX
from fleetline.settings import Settings

STACK_FILE = Path("run") / "stack.json"
"""Written by `fleetline up` below its data directory: where its parts listen this time."""

_FOLLOWED = {
    "kafka_bootstrap_servers": ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
    "clickhouse_url": ("CLICKHOUSE_URL", "CLICKHOUSE_URL"),
}
"""Field: (environment variable, key in the file)."""
_DOORS = {
    "public_api_base_url": ("PUBLIC_API_BASE_URL", "ingress_url"),
    "public_mqtt_url": ("PUBLIC_MQTT_URL", "mqtt_url"),
    "public_websocket_url": ("PUBLIC_WEBSOCKET_URL", "websocket_url"),
}
"""The same for the doors: they are elsewhere than the stack says when PUBLIC_API_BASE_URL is set."""


def load_settings(data_dir: Path | None = None) -> Settings:
    """Load the settings; `data_dir` (the option --data) counts more than FLEETLINE_DATA.

    What neither the environment nor the running local stack says has its default. Raises FleetlineError when a variable
    or the file cannot be read.
    """
    given: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    with _told_plainly():
        settings = Settings(**given)
        stack = _running_stack(settings.data_dir / STACK_FILE)
        followed = _FOLLOWED if is_set("PUBLIC_API_BASE_URL") else {**_FOLLOWED, **_DOORS}
        for field, (variable, key) in followed.items():
            if key in stack and not is_set(variable):
                given[field] = stack[key]
        return Settings(**given)


def settings_of_environment() -> Settings:
    """Load the settings of a component: the environment's alone. Raises FleetlineError when a variable cannot be read."""
    with _told_plainly():
        return Settings()


@contextmanager
def _told_plainly() -> Iterator[None]:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    try:
        yield
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name, said = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
        raise FleetlineError(f"setting {name}: {said}" if name else said) from None
    except SettingsError as error:
        raise FleetlineError(str(error)) from None


def ingress_url(settings: Settings) -> str:
    """Return where senders reach the ingress, without a trailing slash."""
    from fleetline.connectivity.addresses import addresses

    return addresses(settings).http.url


def is_set(variable: str) -> bool:
    """Tell whether the environment gives a setting: itself, with our prefix, or as a file."""
    wanted = {variable, f"FLEETLINE_{variable}"}
    wanted |= {f"{name}{SUFFIX}" for name in wanted}
    return any(name.upper() in wanted and value for name, value in os.environ.items())


def _running_stack(path: Path) -> dict[str, str]:
    import orjson

    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise FleetlineError(f"cannot read {path}: {error}") from error
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise FleetlineError(f"{path} is damaged; restart the stack, or remove the file") from None
    if not isinstance(parsed, dict) or not _is_alive(parsed.get("pid")):
        return {}
    return {str(key): value for key, value in parsed.items() if isinstance(value, str)}


def _is_alive(pid: object) -> bool:
    """Tell whether the stack that wrote the file still runs; one that was killed leaves its file behind."""
    if not isinstance(pid, int):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
