"""Settings of one BikeTrax account: `BIKETRAX_<FIELD>` in the environment."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sources.errors import PullStopped

DEFAULT_URL = "https://iot.powunity.com"
MIB = 1024 * 1024


class BikeTraxAccount(BaseSettings):
    """One account of BikeTrax, or of any Traccar server. Frozen; secrets do not show in `repr` or in errors."""

    model_config = SettingsConfigDict(env_prefix="BIKETRAX_", frozen=True, extra="ignore", hide_input_in_errors=True)

    url: str = DEFAULT_URL
    """Base URL of the server (BT-c01); `/api/…` is added."""
    token: SecretStr = SecretStr("")
    """The account's access token (BT-b04): it opens a session and nothing else (BT-b05)."""
    email: str = ""
    password: SecretStr = SecretStr("")
    """Instead of a token: HTTP Basic authorization for REST (BT-a20), and a session for the WebSocket."""
    credential: str = ""
    """Id of the Fleetline credential of source `biketrax` everything belongs to."""
    reconcile_s: float = Field(900.0, gt=0)
    """Seconds between two comparisons of what arrived with what the server has (BT-a21)."""
    window_hours: float = Field(24.0, gt=0, le=24 * 31)
    """How far back a comparison looks, and where the first one begins."""
    timeout_s: float = Field(30.0, gt=0, le=60)
    """For each answer of the server."""
    idle_s: float = Field(300.0, gt=0)
    """A socket that brings no frame for so long, keep-alives included, is opened anew."""
    retry_max_s: float = Field(60.0, gt=0)
    """Longest pause between two attempts to reach the server."""
    max_response_bytes: int = Field(16 * MIB, gt=0)
    """Largest answer or frame that is read; ranges of time whose answer is larger are asked for in halves."""

    @field_validator("url")
    @classmethod
    def _base_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query:
            raise ValueError("it must read https://<host>[:port][/path], without a user name and without a query")
        return url.rstrip("/")

    @property
    def window_us(self) -> int:
        """Return the window in µs."""
        return round(self.window_hours * 3_600_000_000)


def read_account() -> BikeTraxAccount:
    """Read the settings. Raises PullStopped, with the setting's name and what to put there."""
    try:
        account = BikeTraxAccount()
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise PullStopped(f"BIKETRAX_{name} cannot be used: {first['msg']}") from None
    if not account.token.get_secret_value() and not (account.email and account.password.get_secret_value()):
        raise PullStopped(
            "no access to BikeTrax: make an access token in the account's settings and set BIKETRAX_TOKEN to it"
            " (or set BIKETRAX_EMAIL and BIKETRAX_PASSWORD)"
        )
    return account
