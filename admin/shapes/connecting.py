"""How a device and a tenant's platforms are connected."""

from admin.shapes.common import Shown


class Example(Shown):
    """A command to paste into a shell."""

    transport: str
    title: str
    command: str
    shell: str
    note: str


class SetUp(Shown):
    """A value to enter at the sender."""

    where: str
    value: str


class Webhook(Shown):
    """A URL for a platform; the tenant's secret goes into `header`."""

    source: str
    title: str
    url: str
    header: str


class ConnectionShown(Shown):
    """How a device reaches a source. Without the secret, examples hold a shell variable in its place."""

    source: str
    title: str
    secret_kind: str
    has_secret: bool
    message: str
    examples: list[Example]
    setup: list[SetUp]
    webhooks: list[Webhook]


class TokenShown(Shown):
    """A device's token for one source, as far as it may be shown: it is kept as a hash."""

    source: str
    exists: bool
    credential_id: str | None
    created_at: str | None
    former_until: str | None
    version: int | None


class TokenMade(TokenShown):
    """A device's new token, which is shown this once, with examples that hold it."""

    token: str
    connection: ConnectionShown


class SecretState(Shown):
    """Whether a tenant has a webhook secret, and until when the former one opens."""

    exists: bool
    created_at: str | None
    former_until: str | None
    version: int | None


class IntegrationShown(Shown):
    """What to enter at platforms that post for all of a tenant's devices."""

    secret: SecretState
    message: str
    webhooks: list[Webhook]


class IntegrationMade(IntegrationShown):
    """The same with the new secret, which is shown this once."""

    new_secret: str
