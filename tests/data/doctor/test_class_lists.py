import errno
import os
from pathlib import Path

import pytest

from activity.data.doctor.class_lists import ClassList, difference, find_class_lists


@pytest.mark.parametrize("place", ["videos", "videos/lists", ".", "lists"])
def test_a_list_is_found_in_the_data_set_and_beside_it(tmp_path: Path, place: str) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / place).mkdir(exist_ok=True, parents=True)
    (tmp_path / place / "classInd.txt").write_text("2 run\u200b\r\n1 cafe\u0301\r\n", "utf-16")
    (found,) = find_class_lists(tmp_path / "videos")
    assert found.class_names == ("caf\u00e9", "run")


@pytest.mark.parametrize("text", ["", "run\n", "run\nrun\n"])
def test_what_is_no_list_of_classes_is_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "labels.txt").write_text(text)
    assert find_class_lists(tmp_path / "videos") == []


def test_what_differs_is_said() -> None:
    names = ("jump", "run", "walk")
    assert difference(names, ClassList(Path("/l"), ("jump", "run", "swim", "walk"))) is None
    assert difference(names, ClassList(Path("/l"), ("cat", "dog", "run"))) is None  # about something else
    assert difference(names, ClassList(Path("/l"), ("jump", "run"))) == "does not list 'walk'"
    text = "has 2 classes at other places: 'run' where 'jump' is here"
    assert difference(names, ClassList(Path("/l"), ("run", "jump", "walk"))) == text


def test_a_parent_that_may_not_be_listed_and_one_class_folder_that_may_not_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "videos"
    (root / "walk").mkdir(parents=True)
    (root / "classes.txt").write_text("walk\nrun\n")
    scandir = os.scandir

    def guarded(folder: Path) -> object:  # root, who may list everything, may run this
        if Path(folder) in (tmp_path, root / "walk"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    (found,) = find_class_lists(root)
    assert found.path == root / "classes.txt"
