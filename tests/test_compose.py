"""docker-compose.yml: what it asks of the image, the image has."""

import re
import tomllib

from tests.programs import ROOT


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pinned(lock: str) -> set[str]:
    """The packages of a lock file."""
    return set(re.findall(r"^([a-z0-9-]+)==", text(lock), re.MULTILINE))


def required(extra: str) -> set[str]:
    """The packages that an extra names."""
    extras: dict[str, list[str]] = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    return {re.split(r"[\[<>=]", each)[0] for each in extras[extra]}


def test_grpc_is_served_from_an_image_that_can() -> None:
    compose, dockerfile = text("docker-compose.yml"), text("Dockerfile")
    port = re.search(r'EMPIR_GRPC_PORT: "(\d+)"', compose)
    chosen = re.search(r"args: \{REQUIREMENTS: (\S+)\}", compose)
    assert port is not None and chosen is not None
    assert f'"127.0.0.1:{port[1]}:{port[1]}"' in compose
    assert re.search(rf"^EXPOSE .*\b{port[1]}\b", dockerfile, re.MULTILINE)
    assert dockerfile.count("${REQUIREMENTS}") == 2 and f"!{chosen[1]}\n" in text(".dockerignore")
    assert required("grpc") | pinned("requirements.lock") <= pinned(chosen[1])


def test_the_image_has_the_smaller_lock_unless_it_is_asked_for_more() -> None:
    default = re.search(r"^ARG REQUIREMENTS=(\S+)$", text("Dockerfile"), re.MULTILINE)
    assert default is not None and f"!{default[1]}\n" in text(".dockerignore")
    assert not required("grpc") & pinned(default[1])
