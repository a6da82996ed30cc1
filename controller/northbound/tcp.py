"""The API over TCP, for programs that cannot speak HTTP over a unix socket: on loopback only, and only with a token.

    aifab up --listen 127.0.0.1:8080
    GET /health HTTP/1.1
    Authorization: Bearer TOKEN         from api.token in the lab's directory, which only root can read

Any other request, whatever its path, is answered 401 and never reaches the API. controller/northbound/proxy.py is the
process that does it.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from topologies.model.errors import LabError, SpecError

TOKEN_FILE = "api.token"    # noqa: S105 - a name
_BYTES = 32                 # of a token, drawn at each start
_ADDRESS = re.compile(r"(\d+\.\d+\.\d+\.\d+):(\d{1,5})")


def loopback(text: str) -> tuple[str, int]:
    """'127.0.0.1:8080' -> address and port. Raises SpecError for what is not on loopback, names among it."""
    expected = "a loopback address and a port, such as 127.0.0.1:8080"
    parts = _ADDRESS.fullmatch(text)
    try:
        address = ipaddress.IPv4Address(parts[1] if parts else "")
    except ValueError:
        raise SpecError("--listen", expected, text or "an empty text") from None
    if not address.is_loopback:
        raise SpecError("--listen", expected, text, "the API commands the network: from elsewhere reach it through a "
                        "tunnel, such as ssh -L")
    port = int(parts[2]) if parts else 0
    if not 0 < port < 1 << 16:
        raise SpecError("--listen", "a port from 1 to 65535", str(port))
    return str(address), port


def listener(text: str) -> socket.socket:
    """A bound socket. Raises LabError where the port is taken."""
    sock = socket.socket(socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(loopback(text))
        sock.listen()
    except OSError as error:
        sock.close()
        found = os.strerror(error.errno or 0)
        raise LabError(f"--listen {text}", "a free port", found, "choose another one") from None
    return sock


def new_token(directory: Path) -> str:
    """A token for this start of the controller, in a file that only its owner reads."""
    token, path = secrets.token_urlsafe(_BYTES), directory / TOKEN_FILE
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token


def admits(given: Sequence[bytes], token: str) -> bool:
    """Whether a request with these values of Authorization is let in.

    Exactly one, and the right one; compared in a time that tells nothing. A scheme's letters may be of any case
    (RFC 9110, 11.1).
    """
    if len(given) != 1:
        return False
    scheme, _, its_token = given[0].partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(its_token, token.encode())
