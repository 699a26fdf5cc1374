"""export/data/imagenet_labels.py: a thousand labels that differ."""

from export.data.imagenet_labels import imagenet_labels, readable


def test_there_are_a_thousand_that_differ_in_the_order_of_their_ids() -> None:
    labels = imagenet_labels()
    assert len(labels) == len(set(labels.values())) == 1000
    assert list(labels) == sorted(labels) and all(len(key) == 9 and key[0] == "n" for key in labels)
    assert all(label.strip() == label and label for label in labels.values())
    known = {0: "tench", 1: "goldfish", 207: "golden retriever", 217: "English springer", 574: "golf ball"}
    assert {index: list(labels.values())[index] for index in known} == known


def test_only_folders_that_are_all_ids_are_put_in_words() -> None:
    assert readable(("n01440764", "n03888257")) == ("tench", "parachute")
    assert readable(("n01440764", "tench")) == ("n01440764", "tench")
    assert readable(("cat", "dog")) == ("cat", "dog")
