"""Ready-to-paste examples for one device or tenant: HTTP, MQTT and WebSocket, what to enter at the sender, webhook URLs."""

import shlex
from collections.abc import Iterable, Iterator

import msgspec

from fleetline.connectivity import commands
from fleetline.connectivity.addresses import Addresses, addresses
from fleetline.connectivity.recipient import Recipient
from fleetline.connectivity.requests import Shown, read_or_none, shown_requests
from fleetline.connectivity.shell import SECRET, VARIABLE, filled
from fleetline.connectivity.webhooks import tenant_query, webhook_urls
from fleetline.settings import Settings
from sources.contract import Request, Source
from sources.routes import main_route

SHELL = "sh"


class Example(msgspec.Struct, frozen=True):
    """A command to paste into `shell`; `note` says what is to be known about it."""

    transport: str
    title: str
    command: str
    shell: str = SHELL
    note: str = ""

    def __repr__(self) -> str:
        """Leave out the command: the secret may stand in it."""
        return f"Example({self.title!r})"


class Field(msgspec.Struct, frozen=True):
    """A value to enter at the sender."""

    where: str
    value: str

    def __repr__(self) -> str:
        """Leave out the value: it may be the secret."""
        return f"Field({self.where!r})"


class Webhook(msgspec.Struct, frozen=True):
    """A URL for a platform, opened by the tenant's secret in `header`."""

    source: str
    title: str
    url: str
    header: str


class Connection(msgspec.Struct, frozen=True):
    """How a device (or all of a tenant's) reaches one source; `msgspec.to_builtins` makes JSON of it.

    `secret` is set only right after it was made, and is in the examples then. `message` says what to do about the secret.
    """

    source: str
    title: str
    secret_kind: str
    secret: str | None
    message: str
    make_secret: str
    examples: list[Example]
    setup: list[Field]
    webhooks: list[Webhook]

    def __repr__(self) -> str:
        """Leave out the secret and what holds it."""
        return f"Connection({self.source!r})"


def connects_itself(source: Source) -> bool:
    """Tell whether devices speak to the source themselves, over every transport, rather than a platform for them."""
    return source.websocket or bool(source.mqtt_topics)


def secret_kind(source: Source) -> str:
    """Return what opens a source: `device token`, `tenant secret` or `credential`."""
    if connects_itself(source):
        return "device token"
    return "tenant secret" if source.tenant_secret else "credential"


def make_secret(source: Source, who: Recipient) -> str:
    """Return the command that makes the secret, or a new one."""
    if source.tenant_secret:
        return f"fleetline tenant secret {shlex.quote(who.tenant_id)}"
    if who.device_id:
        named = "" if source.name == "device" else f" --source {source.name}"
        return f"fleetline device connect {shlex.quote(who.device_id)}{named} --rotate"
    return f"fleetline credential create --source {source.name} --tenant {shlex.quote(who.tenant_id)}"


def connection(
    settings: Settings,
    source: Source,
    who: Recipient,
    secret: str | None = None,
    *,
    has_secret: bool = True,
    ca_file: str = "",
) -> Connection:
    """Return everything needed to connect (AC-b03). Without the secret, examples hold a shell variable in its place.

    `has_secret` tells whether one was ever made; `ca_file` is a private CA's certificate for the commands.
    """
    return Connection(
        source=source.name,
        title=source.title,
        secret_kind=secret_kind(source),
        secret=secret,
        message=_message(source, who, secret, has_secret),
        make_secret=make_secret(source, who),
        examples=examples(settings, source, who, secret, ca_file=ca_file),
        setup=[
            Field(where, filled(value.replace("{secret}", SECRET), secret))
            for where, value in setup_of(source, addresses(settings), who.tenant_id)
        ],
        webhooks=[Webhook(**each) for each in webhook_urls(settings, who.tenant_id)],
    )


def _message(source: Source, who: Recipient, secret: str | None, has_secret: bool) -> str:
    kind, command = secret_kind(source), make_secret(source, who)
    if kind == "credential" and who.device_id:
        command += (
            f" (for this device alone), {make_secret(source, Recipient(who.tenant_id))} (for all of the tenant's)"
        )
    if secret is not None:
        return f"The {kind} is shown this once: copy it now."
    if not has_secret:
        return f"There is no {kind} yet. Make one: {command}"
    return (
        f"The {kind} is kept as a hash and cannot be shown again. Set {VARIABLE} to it before you paste, "
        f"or make a new one: {command}"
    )


def examples(
    settings: Settings, source: Source, who: Recipient, secret: str | None = None, *, ca_file: str = ""
) -> list[Example]:
    """Return commands that send one bundled sample each, with the recipient's ids in the place of the sample's."""
    doors = addresses(settings)
    http_ca, mqtt_ca, websocket_ca = (ca_file if door.tls else "" for door in (doors.http, doors.mqtt, doors.websocket))
    shown = shown_requests(source, who)
    if not connects_itself(source):
        shown = shown[:1]
    picked = list(_one_of_each(shown, who))
    made = [
        Example("http", _title(each), commands.curl(doors.http.url, each, secret, http_ca), note=_note(each, who))
        for each in picked
    ]
    plain = [each for each in picked if each.is_json and each.items == 1]
    for topic, each in _topics(source, plain):
        title = f"MQTT, {topic}" + (", for a device behind the gateway" if each.has_child else "")
        command = commands.mosquitto_pub(doors.mqtt, _with_secret(source, topic), each.body, secret, mqtt_ca)
        made.append(Example("mqtt", title, command, note=_note(each, who)))
    if source.websocket:
        for each in plain:
            child = ", for a device behind the gateway" if each.has_child else ""
            for name, write in (("Python", commands.websocket_python), ("websocat", commands.websocat)):
                pasted = write(doors.websocket, each.json, secret, websocket_ca)
                note = "needs `pip install websockets`" if name == "Python" else ""
                made.append(Example("websocket", f"WebSocket, {name}{child}", pasted, note=_note(each, who) or note))
    return made


def _one_of_each(shown: Iterable[Shown], who: Recipient) -> Iterator[Shown]:
    """Pick the plainest of each form; those for a device behind it are a gateway's."""
    seen = set()
    for each in shown:
        form = (each.is_json, each.items > 1, each.has_child)
        if form not in seen and (who.gateway or not each.has_child or not who.device_id):
            seen.add(form)
            yield each


def _title(shown: Shown) -> str:
    form = "JSON" if shown.is_json else shown.content_type.rpartition("/")[2].upper()
    title = f"HTTP, {form}" if form else f"HTTP {shown.method}"
    if shown.items > 1:
        title += ", a batch"
    return title + (", for a device behind the gateway" if shown.has_child else "")


def _note(shown: Shown, who: Recipient) -> str:
    if shown.has_child and who.gateway and not who.children:
        return f"put the child in the place of {who.child}; make one: fleetline device create NAME --parent {who.device_id}"
    if who.device_id and not shown.reaches_it:
        kinds = " or ".join(kind.replace("_", " ") for kind in shown.found_by)
        return f"the device is found by its {kinds} and has none: the record waits, see fleetline unmapped"
    return ""


def _topics(source: Source, plain: list[Shown]) -> Iterator[tuple[str, Shown]]:
    """Choose the topics to show: one without the token in it, one with, and the gateways' own, each with what it takes."""
    seen = set()
    for topic in source.mqtt_topics:
        taken = next((each for each in plain if _is_taken(source, topic, each)), None)
        if taken is None:
            continue
        form = ("{" in topic, taken.has_child)
        if form not in seen:
            seen.add(form)
            yield topic, taken


def _is_taken(source: Source, topic: str, shown: Shown) -> bool:
    """Tell whether a body is telemetry on a topic, and of the same device as over HTTP."""
    readings = read_or_none(source, Request(body=shown.body, path=topic, transport="mqtt", device_id="device"))
    return bool(readings) and all(
        reading.type == "telemetry" and bool(reading.child) == shown.has_child for reading in readings
    )


def _with_secret(source: Source, template: str) -> str:
    for part in source.secret_path_parts:
        template = template.replace(f"{{{part}}}", SECRET)
    return template


def setup_of(source: Source, doors: Addresses, tenant_id: str) -> Iterator[tuple[str, str]]:
    """Say what is to be entered at the sender, as (where, value): our URL, and `{secret}` where the secret goes (AP-b02)."""
    url = f"{doors.http.url}{main_route(source)}{tenant_query(source, tenant_id)}"
    for where, value in source.setup:
        yield where, value.replace("{url}", url).replace("{tenant}", tenant_id)
