"""Commands that send something: curl, mosquitto_pub, websocat and Python. Each does as it stands, in a POSIX shell."""

import base64
import shlex
from typing import Any

import orjson

from fleetline.connectivity.addresses import Address
from fleetline.connectivity.requests import Shown
from fleetline.connectivity.shell import SECRET, word

_PYTHON = (
    "import sys; from websockets.sync.client import connect; socket = connect(sys.argv[1]); "
    "[(socket.send(frame), print(socket.recv())) for frame in sys.argv[2:]]; socket.close()"
)
_ANSWER_S = 2
"""How long websocat is kept open for the answers."""


def curl(base_url: str, shown: Shown, secret: str | None, ca_file: str = "") -> str:
    """Send a request with curl; `ca_file` is the certificate of a private CA."""
    url = f"{base_url}{shown.path}{f'?{shown.query}' if shown.query else ''}"
    words = ["curl -sS -i"]
    if any(each in url for each in "[]{}"):
        words.append("--globoff")
    if ca_file:
        words.append(f"--cacert {shlex.quote(ca_file)}")
    if shown.method != "POST":
        words.append(f"-X {shlex.quote(shown.method)}")
    words.append(word(url, secret))
    # a header without a value is sent with a semicolon behind its name
    words += [f"-H {word(f'{name}: {text}' if text else f'{name};', secret)}" for name, text in shown.headers.items()]
    if shown.is_json or _is_text(shown.body):
        if shown.body or shown.method == "POST":
            words.append(f"--data-raw {word(shown.body.decode(), secret)}")
        return " ".join(words)
    encoded = base64.b64encode(shown.body).decode()
    return f"printf %s {shlex.quote(encoded)} | base64 -d | {' '.join(words)} --data-binary @-"


def mosquitto_pub(address: Address, topic: str, body: bytes, secret: str | None, ca_file: str = "") -> str:
    """Publish with QoS 1: the command ends well only when the message was acknowledged."""
    words = ["mosquitto_pub", f"-h {shlex.quote(address.host)}", f"-p {address.port}"]
    if address.tls:
        words.append(f"--cafile {shlex.quote(ca_file)}" if ca_file else "--tls-use-os-certs")
    words += [f"-u {word(SECRET, secret)}", f"-t {word(topic, secret)}", "-q 1", f"-m {word(body.decode(), secret)}"]
    return " ".join(words)


def frames(data: Any) -> tuple[str, str]:
    """Return the frames a device sends over its WebSocket: who it is, and one reading (AC-a12, AC-a13)."""
    auth = orjson.dumps({"type": "auth", "deviceToken": SECRET}).decode().replace("\\u0000", SECRET)
    return auth, orjson.dumps({"type": "telemetry", "id": 1, "data": data}).decode()


def websocket_python(address: Address, data: Any, secret: str | None, ca_file: str = "") -> str:
    """Send both frames and print both answers, with Python's `websockets`."""
    words = [word(each, secret) for each in (_PYTHON, _websocket_url(address), *frames(data))]
    return f"{_trusting(ca_file)}python3 -c {' '.join(words)}"


def websocat(address: Address, data: Any, secret: str | None, ca_file: str = "") -> str:
    """Send both frames and print the answers that come within two seconds."""
    words = " ".join(word(each, secret) for each in frames(data))
    url = word(_websocket_url(address), secret)
    return f"{{ printf '%s\\n' {words}; sleep {_ANSWER_S}; }} | {_trusting(ca_file)}websocat {url}"


def _websocket_url(address: Address) -> str:
    return address.url if address.url.count("/") > 2 else f"{address.url}/"


def _trusting(ca_file: str) -> str:
    return f"SSL_CERT_FILE={shlex.quote(ca_file)} " if ca_file else ""


def _is_text(body: bytes) -> bool:
    try:
        return "\0" not in body.decode()
    except UnicodeError:
        return False
