"""What can go wrong, as exceptions: one tree, one class for each `code` that a program may want to tell apart."""

from typing import ClassVar


class ClientError(Exception):
    """Anything that this client raises of its own."""


class ConnectionFailed(ClientError, ConnectionError):
    """The server cannot be reached, or went away before it had answered, at every try."""


class ClientTimeout(ClientError, TimeoutError):
    """The client's own deadline is over and no answer is there. The server's is `Deadline`."""


class UnexpectedAnswer(ClientError):
    """An answer that is not one of EMPIR Serve's; the message says which field is not what was expected."""


class Problem(ClientError):
    """The server's refusal (`application/problem+json`). A code that has no class of its own is raised as this one."""

    codes: ClassVar[dict[str, type["Problem"]]] = {}

    def __init_subclass__(cls, code: str) -> None:
        Problem.codes[code] = cls

    def __init__(
        self, status: int, code: str, detail: str, request_id: str | None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{code} ({status}): {detail}" + (f" [request {request_id}]" if request_id else ""))
        self.status = status
        self.code = code
        """A stable word for programs."""
        self.detail = detail
        """A sentence for people: what was expected, what came."""
        self.request_id = request_id
        """Under which the server's log has it; None where something before the server refused."""
        self.retry_after_s = retry_after_s
        """The seconds that the server asked to wait, if it did."""

    def __reduce__(self) -> tuple[type["Problem"], tuple[int, str, str, str | None, float | None]]:
        return type(self), (self.status, self.code, self.detail, self.request_id, self.retry_after_s)


class Malformed(Problem, code="malformed"):
    """400: a request that is not what it says it is."""


class UnknownBundle(Problem, code="unknown_bundle"):
    """404: no bundle of this name is served; the detail names those that are."""


class NoReport(Problem, code="no_report"):
    """404: the bundle has no report."""


class BodyTooSlow(Problem, code="body_too_slow"):
    """408: the image did not arrive in time."""


class BodyTooLarge(Problem, code="body_too_large"):
    """413: more bytes than the server takes."""


class ImageTooLarge(Problem, code="image_too_large"):
    """413: more pixels than the server takes."""


class NotAnImage(Problem, code="not_an_image"):
    """415: the bytes are not a picture of a kind that the server reads."""


class InvalidValue(Problem, code="invalid_value"):
    """422: a parameter out of range or not in its list."""


class QueueFull(Problem, code="queue_full"):
    """429: too many are waiting, and so they were at every try."""


class NoQuorum(Problem, code="no_quorum"):
    """503: too few members have a vote for a verdict. Asking again would not help: not retried."""


class Unavailable(Problem, code="unavailable"):
    """503: the server is starting, draining, or lost its probe process, and so it was at every try."""


class Deadline(Problem, code="deadline"):
    """504: the server dropped the work because it took too long. The client's own deadline is `ClientTimeout`."""
