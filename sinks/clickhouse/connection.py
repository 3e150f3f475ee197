"""Connects to ClickHouse from one URL."""

from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from fleetline.settings import Settings

SEND_RECEIVE_TIMEOUT_S = 120
"""Below Kafka's max.poll.interval.ms: an insert that hangs must end before its owner loses the partition."""


def connect(settings: Settings) -> Client:
    """Open a client for `settings.clickhouse_url`, creating the database if it is missing.

    No session is used: sessions serialize, and a retry must be free to run beside whatever hangs. Raises
    clickhouse_connect's errors when the server cannot be reached.
    """
    parts = urlsplit(settings.clickhouse_url)
    secure = parts.scheme == "https"
    database = parts.path.strip("/") or "default"
    arguments: dict[str, Any] = {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or (8443 if secure else 8123),
        "secure": secure,
        "username": unquote(parts.username or "default"),
        "password": unquote(parts.password or ""),
        "autogenerate_session_id": False,
        "send_receive_timeout": SEND_RECEIVE_TIMEOUT_S,
        "compress": "lz4",
    }
    if database != "default":
        with clickhouse_connect.get_client(**arguments) as first:
            first.command(f"CREATE DATABASE IF NOT EXISTS `{database.replace('`', '')}`")
    return clickhouse_connect.get_client(**arguments, database=database)
