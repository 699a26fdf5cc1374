"""The admin key: who may change which bundles are served."""

import hmac
from collections.abc import Mapping

from service.errors import KeyMissing, KeyRefused
from service.settings import Settings


def check_key(settings: Settings, headers: Mapping[str, str]) -> None:
    """Raise KeyRefused or KeyMissing unless the headers, by lower-case name, hold the server's admin key."""
    wanted = settings.admin_key.get_secret_value() if settings.admin_key is not None else ""
    if not wanted:
        raise KeyRefused("admin key: this server has none, so nobody may; start it with EMPIR_ADMIN_KEY set to one")
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = headers.get("x-admin-key") or (token.strip() if scheme.lower() == "bearer" else "")
    if not given:
        raise KeyMissing("admin key: expected `Authorization: Bearer KEY` or `X-Admin-Key: KEY`, got neither")
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise KeyRefused("admin key: expected the server's EMPIR_ADMIN_KEY, got another one")
