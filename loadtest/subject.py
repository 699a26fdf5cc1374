"""What was measured: the bundle behind a URL, where the server is an EMPIR Serve and tells of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from loadtest.target import Target

if TYPE_CHECKING:
    from empir_client import Bundle

DEADLINE_S = 5.0
MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer")
WAYS = {"members": "members side by side", "requests": "members in turn"}


@dataclass(frozen=True)
class Member:
    """A network that was asked."""

    name: str
    precision: str
    """In its short form, such as `w2a4`."""
    engine: str


@dataclass(frozen=True)
class Subject:
    """The bundle that was asked, and how it was run."""

    name: str
    version: str
    members: tuple[Member, ...]
    concurrency: str | None
    """How the members of one request run: `members` (side by side) or `requests` (in turn); None where not told."""

    def __str__(self) -> str:
        """In a line.

        >>> str(Subject("toy", "1", (Member("a", "w2a4", "onnxruntime"), Member("b", "fp32", "openvino")), "requests"))
        'toy 1; a (w2a4, onnxruntime), b (fp32, openvino); members in turn'
        """
        members = ", ".join(f"{each.name} ({each.precision}, {each.engine})" for each in self.members)
        way = WAYS.get(self.concurrency or "")
        return "; ".join([f"{self.name} {self.version}", members, *([way] if way else [])])


def read_subject(target: Target, bundle: str | None, deadline_s: float = DEADLINE_S) -> Subject | None:
    """The bundle that requests to `target` are for; a `bundle` in its URL goes before the one given here.

    Asks once. None where that does not tell, which is no reason not to measure: of another server, an old one, one
    that refuses or is not there, and where the package `empir_client` is not installed.
    """
    asked = _asked(target, bundle)
    if asked is None:
        return None
    try:
        import httpx
        from empir_client import Client, ClientError, Retries
    except ImportError:
        return None
    # A transport of its own: like the load itself, the question does not go through a proxy of the environment.
    once, direct = Retries(deadline_s, attempts=1), httpx.HTTPTransport()
    try:
        with Client(target.base, retries=once, transport=direct) as empir:
            found = empir.bundles()
        return _subject(found[asked[0] or found.default], asked[1])
    except (ClientError, KeyError, ValueError, RecursionError):  # the latter of JSON that is all brackets
        return None


def named(subjects: Mapping[str, Subject | None]) -> dict[str, str]:
    """Those that are known, in words."""
    return {name: str(subject) for name, subject in subjects.items() if subject is not None}


def _asked(target: Target, bundle: str | None) -> tuple[str, str] | None:
    """Bundle and member, "" for the default one and for all; None if EMPIR Serve takes no images at the URL's path."""
    path = target.path("")
    if path in ("", "/predict"):
        name = dict(parse_qsl(target.parts.query)).get("bundle", bundle) or ""
    elif model := MODEL.fullmatch(path):
        name = unquote(model[1])
    else:
        return None
    first, _, member = name.partition(":")
    return first, member


def _subject(bundle: "Bundle", member: str) -> Subject:
    """Raises KeyError if the bundle has no such member."""
    members = tuple(
        Member(each.name, str(each.precision), each.engine)
        for each in bundle.members
        if not member or each.name == member
    )
    if not members:
        raise KeyError(member)
    way = bundle.concurrency.chosen if bundle.concurrency is not None and not member else None
    return Subject(bundle.name, bundle.version, members, way)
