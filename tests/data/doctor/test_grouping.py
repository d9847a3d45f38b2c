from pathlib import Path

import pytest

from activity.data.clips import Clip
from activity.data.doctor.grouping import guess_groups


def clips(*names: str) -> list[Clip]:
    return [
        Clip(path=Path("/d", name), relative_path=name, label=name.removeprefix("train/").split("/")[0], group=name)
        for name in names
    ]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["run/eli_run.avi", "run/ida_run.avi", "walk/eli_walk.avi", "walk/ida_walk.avi"], {"eli", "ida"}),
        (
            [f"{a}/v_{a}_g0{g}_c0{c}.avi" for a in ("Run", "Walk") for g in (1, 2) for c in (1, 2)],
            {"v_Run_g01", "v_Run_g02", "v_Walk_g01", "v_Walk_g02"},
        ),
        ([f"{a}/person0{p}_{a}_d{d}.avi" for a in "xy" for p in "12" for d in "12"], {"person01", "person02"}),
        ([f"{a}/S001C00{c}P00{p}R001A00{a}.avi" for a in (1, 2) for c in (1, 2) for p in (1, 2)], {"P001", "P002"}),
        ([f"{a}/{s}{a}_{i}.mp4" for a in ("hit", "no") for s in "xy" for i in (1, 2)], {"xhit", "yhit", "xno", "yno"}),
        ([f"{a}/{s}/{i}.mp4" for a in ("hit", "no") for s in ("eli", "ida") for i in (1, 2)], {"eli", "ida"}),
        ([f"train/{a}/take{i}_{s}_x.mp4" for a in ("hit", "no") for s in ("eli", "ida") for i in "12"], {"eli", "ida"}),
        ([f"{a}/April_09_{a}_{s}_u_nm_np1_ba_goo_{i}.avi" for a in ("hit", "no") for s in "pq" for i in (0, 1)], None),
    ],
)  # fmt: skip
def test_groups_are_guessed(names: list[str], groups: set[str] | None) -> None:
    guess = guess_groups(clips(*names))
    assert guess is not None
    if groups is None:
        assert guess.groups == 4
    else:
        assert set(guess.group_of.values()) == groups
    assert not set(guess.pattern) & set("'\"$!")


@pytest.mark.parametrize(
    "names",
    [
        ["fight/fi001.mp4", "fight/fi002.mp4", "no/nofi001.mp4", "no/nofi002.mp4"],
        ["run/run_1.avi", "run/run_2.avi", "walk/walk_1.avi", "walk/walk_2.avi"],  # counts
        ["run/eli_run.avi", "run/ida_run.avi", "walk/nora_walk.avi", "walk/zoe_walk.avi"],  # each once
    ],
)
def test_nothing_is_guessed_where_names_say_nothing(names: list[str]) -> None:
    assert guess_groups(clips(*names)) is None
