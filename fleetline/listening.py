"""What every server that senders connect to needs: its side of TLS, and enough open files."""

import resource
import ssl
from contextlib import suppress

from fleetline.errors import FleetlineError
from fleetline.settings import Settings


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the server's side of TLS 1.2 and 1.3, None without a certificate. Raises FleetlineError when it cannot be read."""
    if settings.tls_certificate is None:
        if settings.tls_key is not None:
            raise FleetlineError(
                "FLEETLINE_TLS_KEY needs FLEETLINE_TLS_CERTIFICATE: without it everything would go in plain text"
            )
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # an empty password: OpenSSL would ask for that of an encrypted key on the terminal
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except (OSError, ssl.SSLError) as error:
        raise FleetlineError(f"the certificate {settings.tls_certificate} cannot be used: {error}") from None
    return context


def open_files() -> int:
    """Allow as many open files as the system lets us, and return how many that is. Each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard
    return soft
