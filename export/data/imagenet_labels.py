"""ImageNet's 1,000 classes in words, by their WordNet ids."""

from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("imagenet_labels.txt")


@cache
def imagenet_labels() -> dict[str, str]:
    """From WordNet id (`n01440764`) to label (`tench`), in the order of the class indices 0..999; labels differ."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def readable(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of class folders: in words if all are called by WordNet ids of ImageNet, else their names."""
    words = imagenet_labels()
    return tuple(words[name] for name in folders) if all(name in words for name in folders) else folders
