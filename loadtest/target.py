"""A server to be loaded, as the command line names it: `[NAME=]URL[#BODY]`."""

from dataclasses import dataclass
from typing import Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

Body = Literal["png", "jpeg", "json", "raw", "oip-json", "oip-binary"]
BODIES: tuple[Body, ...] = get_args(Body)


@dataclass(frozen=True)
class Target:
    """Where requests go, and in which form images go there."""

    name: str
    parts: SplitResult
    body: Body

    @classmethod
    def read(cls, text: str, body: Body) -> Self:
        """From the command line; `body` is used where the text names none. Raises ValueError."""
        name, separator, rest = text.partition("=")
        if not separator or "://" in name:
            name, rest = "", text
        parts = urlsplit(rest)
        chosen = parts.fragment or body
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"URL: expected [NAME=]http://HOST:PORT, got {text}")
        if chosen not in BODIES:
            raise ValueError(f"URL: expected one of {', '.join(BODIES)} after #, got {chosen}")
        return cls(name or rest, parts, chosen)

    @property
    def base(self) -> str:
        """`http://HOST:PORT`."""
        return f"http://{self.parts.netloc}"

    @property
    def url(self) -> str:
        """Without the body's name."""
        return self.parts._replace(fragment="").geturl()

    def path(self, default: str) -> str:
        """The path of the URL, or the default where it has none."""
        return self.parts.path.rstrip("/") or default
