"""Published files: found in a folder or fetched from their publisher, and checked."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pooch

from export.data.examples import DataError


@dataclass(frozen=True)
class Published:
    """Files as their publisher ships them: the data set's title, the folder for them, their md5, their addresses."""

    title: str
    folder: str
    md5: dict[str, str]
    urls: tuple[str, ...] = ()

    def find(self, data_dir: Path | None) -> Path | None:
        """The folder with the files: `data_dir`/`folder` or `data_dir` itself; None if the first file is in neither.

        Raises DataError if one of them is missing or is not the publisher's.
        """
        for folder in () if data_dir is None else (data_dir / self.folder, data_dir):
            if (folder / next(iter(self.md5))).exists():
                for name in self.md5:
                    self._check(folder / name)
                return folder
        return None

    def fetch(self, data_dir: Path | None) -> Path:
        """The folder that they are downloaded to, unless they are there: `data_dir`/`folder`, or the user's cache.

        Raises DataError, and leaves nothing behind, if that fails.
        """
        target = cache_folder() / self.folder if data_dir is None else data_dir / self.folder
        new = [folder for folder in (target, *target.parents) if not folder.exists()]
        try:
            for name, md5 in self.md5.items():
                self._download(name, md5, target)
        except DataError:
            for folder in new:
                with suppress(OSError):  # leave no empty folders behind; one with a finished download stays
                    folder.rmdir()
            raise
        return target

    def check_content(self, path: Path | str, name: str, content: bytes) -> None:
        """Raise DataError unless `content`, read from `path`, is the file `name`."""
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != self.md5[name]:
            raise DataError(
                f"{path}: expected md5 {self.md5[name]} (the publisher's file), got {found}; "
                "delete it or put the original there"
            )

    def _check(self, path: Path) -> None:
        if not path.exists():
            raise DataError(
                f"{path}: missing; expected {self.title}'s {len(self.md5)} files beside one another: "
                f"{', '.join(self.md5)}"
            )
        self.check_content(path, path.name, path.read_bytes())

    def _download(self, name: str, md5: str, target: Path) -> None:
        """Download one file; pooch writes to a temporary file, checks the sum, then renames."""
        reasons = []
        for base in self.urls:
            try:
                pooch.retrieve(base + name, known_hash=f"md5:{md5}", fname=name, path=target, progressbar=True)
                return
            except (OSError, ValueError) as error:  # no network, refused; or a sum that differs
                reasons.append(f"{base}: {type(error).__name__}")
        raise DataError(
            f"{self.title} is not in {target} and could not be downloaded ({'; '.join(reasons)}). "
            f"Put {', '.join(self.md5)} into DIR/{self.folder} and pass --data-dir DIR, or set EMPIR_DATA_DIR."
        )


def cache_folder() -> Path:
    """Where files go when no folder is named: the user's cache."""
    return Path(pooch.os_cache("empir"))
