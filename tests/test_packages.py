"""What an installed distribution contains: every package of the tree, and every file that lies beside its modules."""

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.programs import ROOT

DISTRIBUTIONS = [ROOT, ROOT / "clients" / "python"]
NOT_INSTALLED = {"docs", "tests"}
"""Packages of the checkout that only a developer needs."""


def setuptools_of(home: Path) -> Any:
    return tomllib.loads((home / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def packages_of(home: Path) -> dict[str, Path]:
    """The folder of every package of a distribution, by its name in dots."""
    tops = [each for each in home.iterdir() if (each / "__init__.py").exists() and each.name not in NOT_INSTALLED]
    folders = [path.parent for top in tops for path in top.rglob("__init__.py")]
    return {".".join(folder.relative_to(home).parts): folder for folder in folders}


def files_beside_modules(packages: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Package, and path within it, of each file that is neither a module nor for those who read the code."""
    owner = {folder: package for package, folder in packages.items()}
    for folder in {each for each in packages.values() if each.parent not in owner}:
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".md"):
                home = next(parent for parent in path.parents if parent in owner)
                yield owner[home], path.relative_to(home).as_posix()


def shipped(name: str, patterns: list[str]) -> bool:
    """Whether a pattern has it; neither setuptools' nor a shell's `*` matches a slash, fnmatch's does."""
    parts = PurePosixPath(name).parts
    split = (PurePosixPath(pattern).parts for pattern in patterns)
    return any(len(parts) == len(each) and all(map(fnmatch, parts, each)) for each in split)


@pytest.mark.parametrize("home", DISTRIBUTIONS, ids=["empir-serve", "empir-client"])
def test_an_installed_distribution_is_whole(home: Path) -> None:
    packages, listed = packages_of(home), setuptools_of(home)
    assert set(listed["packages"]) == set(packages)
    files = list(files_beside_modules(packages))
    assert files
    assert [each for each in files if not shipped(each[1], listed["package-data"].get(each[0], []))] == []
