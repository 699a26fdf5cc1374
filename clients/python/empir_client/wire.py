"""Between httpx and the rest: what both clients tell it, and what it told them."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from empir_client.exchange import Lost, Reply, Send


def options(base_url: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Of httpx's client: the server's address, and what goes with every request. Raises ValueError for an address."""
    sent = {"User-Agent": f"empir-client/{_version()}", "Accept": "application/json", **(headers or {})}
    return {"base_url": _checked(base_url), "headers": sent}


def arguments(send: Send) -> dict[str, Any]:
    """Of httpx's `request`."""
    request = send.request
    kind = {} if request.body is None else {"Content-Type": "application/octet-stream"}
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.params),
        "content": request.body,
        "headers": kind,
        "timeout": send.timeout_s,
    }


def reply_of(response: httpx.Response) -> Reply:
    """What came back, read whole."""
    return Reply(response.status_code, response.headers, response.content)


def lost(error: httpx.RequestError) -> Lost:
    """Why nothing came back."""
    return Lost(str(error) or type(error).__name__, isinstance(error, httpx.TimeoutException))


def _checked(base_url: str) -> str:
    """The address, if it is one. Raises ValueError."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url: expected http://HOST:PORT or https://..., got {base_url!r}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"base_url: expected http://HOST:PORT or https://..., got {base_url!r}")
    return base_url


def _version() -> str:
    try:
        return version("empir-client")
    except PackageNotFoundError:  # from a checkout that was not installed
        return "0"
