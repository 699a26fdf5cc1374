"""export/data/fetch.py: files found, downloaded, checked; every failure said."""

import hashlib
from pathlib import Path

import pooch
import pytest

from export.data.examples import DataError
from export.data.fetch import Published
from tests.publisher import Files, install_network, put

FILES: Files = {"a.gz": b"the first file", "b.gz": b"the second"}
PUBLISHED = Published(
    "Letters",
    "letters",
    {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()},
    ("https://one.example/", "https://two.example/"),
)


@pytest.mark.parametrize("folder", ["letters", "."])
def test_files_beside_one_another_are_found(folder: str, tmp_path: Path) -> None:
    put(FILES, tmp_path / folder)
    assert PUBLISHED.find(tmp_path) == tmp_path / folder


@pytest.mark.parametrize("given", [True, False], ids=["data_dir", "none"])
def test_nothing_is_found_where_nothing_is(given: bool, tmp_path: Path) -> None:
    assert PUBLISHED.find(tmp_path if given else None) is None


def test_an_altered_file_is_refused_by_name_with_both_sums(tmp_path: Path) -> None:
    put(FILES | {"b.gz": b"another"}, tmp_path / "letters")
    with pytest.raises(DataError) as refusal:
        PUBLISHED.find(tmp_path)
    path = tmp_path / "letters" / "b.gz"
    for expected in (str(path), PUBLISHED.md5["b.gz"], hashlib.md5(b"another").hexdigest()):
        assert expected in str(refusal.value)


def test_a_missing_file_is_named_with_what_belongs_beside_it(tmp_path: Path) -> None:
    put({"a.gz": FILES["a.gz"]}, tmp_path)
    with pytest.raises(DataError) as refusal:
        PUBLISHED.find(tmp_path)
    path = tmp_path / "b.gz"
    assert str(refusal.value) == f"{path}: missing; expected Letters's 2 files beside one another: a.gz, b.gz"


@pytest.mark.parametrize("given", [True, False], ids=["data_dir", "cache"])
def test_what_is_not_there_is_downloaded_once(given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    asked = install_network(monkeypatch, lambda url: FILES[url.rsplit("/", 1)[1]])
    folder = tmp_path / "letters" if given else tmp_path / "empir" / "letters"
    for _ in range(2):
        assert PUBLISHED.fetch(tmp_path if given else None) == folder
    assert asked == ["https://one.example/a.gz", "https://one.example/b.gz"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_a_mirror_steps_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(url: str) -> bytes:
        if url.startswith("https://one"):
            raise ConnectionError("down")
        return FILES[url.rsplit("/", 1)[1]]

    asked = install_network(monkeypatch, serve)
    PUBLISHED.fetch(tmp_path)
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"0123456789CUT", "ConnectionResetError"), (b"<html>Please log in</html>", "ValueError")],
    ids=["interrupted", "another file"],
)
def test_a_failed_download_says_what_to_put_where_and_leaves_nothing(
    content: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_network(monkeypatch, lambda url: content)
    with pytest.raises(DataError) as refusal:
        PUBLISHED.fetch(tmp_path)
    assert str(refusal.value) == (
        f"Letters is not in {tmp_path / 'letters'} and could not be downloaded "
        f"(https://one.example/: {reason}; https://two.example/: {reason}). "
        "Put a.gz, b.gz into DIR/letters and pass --data-dir DIR, or set EMPIR_DATA_DIR."
    )
    assert list(tmp_path.iterdir()) == []
