"""The address: whether the server could listen there."""

import errno
import json
import socket
import urllib.request
from urllib.error import URLError

from service.doctor.finding import Finding, fail, ok, warn

PATIENCE_S = 1.0
LOOPBACK = ("127.", "::1", "localhost")


def port(host: str, number: int) -> Finding:
    """Whether a socket can be bound; where it cannot, whether this project's server is what listens there."""
    topic = f"port {number}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
        except (OSError, UnicodeError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            if taken and _is_ours(host, number):
                return warn(topic, f"an EMPIR Serve answers on {host} already", "Stop it first, or take another --port")
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            return fail(topic, f"cannot listen on {host}: {reason}", "Take another with --port; 0 picks a free one")
    return ok(topic, f"free on {host}")


def exposure(host: str) -> Finding:
    """Who can reach the server."""
    if host.startswith(LOOPBACK):
        return ok("address", f"{host}: this machine only")
    return warn(
        "address",
        f"{host}: other machines too",
        "There is no encryption: keep it behind a proxy that has it and checks keys, or in a network of your own",
    )


def _is_ours(host: str, number: int) -> bool:
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://{f'[{here}]' if ':' in here else here}:{number}/health/live"
    try:
        with direct.open(url, timeout=PATIENCE_S) as answer:
            return bool(json.load(answer) == {"status": "live"})
    except (URLError, OSError, ValueError):
        return False
