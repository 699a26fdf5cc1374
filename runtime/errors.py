"""The one exception tree. Each class has a `code`, a stable word for programs; the message is for people."""


class EmpirError(Exception):
    """Anything that this project refuses or cannot do. The message says what was expected, what came, and where."""

    code = "internal"


class BundleError(EmpirError):
    """A bundle that cannot be trusted or used: missing, corrupt, inconsistent."""

    code = "bad_bundle"


class UnknownBundle(EmpirError):
    """No bundle of this name is loaded."""

    code = "unknown_bundle"


class ImageError(EmpirError):
    """Bytes that are not an image of a kind that we read."""

    code = "not_an_image"


class ImageTooLarge(EmpirError):
    """An image with more pixels than allowed."""

    code = "image_too_large"


class InvalidValue(EmpirError):
    """A parameter out of range or not in its list."""

    code = "invalid_value"


class NoQuorum(EmpirError):
    """No class has a majority and the tie-breaker has no vote, or no member is live: there is no verdict."""

    code = "no_quorum"


def described(error: Exception) -> str:
    """What an exception says to people: of the system's errors the file first, and no number.

    >>> described(FileNotFoundError(2, "No such file or directory", "a.png"))
    'a.png: No such file or directory'
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
