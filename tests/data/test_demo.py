import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from activity.data.demo import (
    CLIP_FRAMES,
    DEMO_ACTIVITIES,
    FRAMES_PER_SECOND,
    MARKER,
    ORDER_PAIRS,
    PICTURE_SIZE,
    render_clip,
    render_demo,
    render_scene,
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "films"
    render_demo(root, actors=2, takes=1, seed=3)
    return root


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (found := capture.read())[0]:
        frames.append(cv2.cvtColor(found[1], cv2.COLOR_BGR2RGB))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return np.stack(frames), rate


def clip(activity, **kwargs):
    return np.stack(list(render_clip(activity, **{"actor": 1, "take": 0, "seed": 3} | kwargs)))


def snapshot(root):
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_every_activity_actor_and_take_is_one_film(demo):
    films = sorted(path.relative_to(demo).as_posix() for path in demo.rglob("*.avi"))
    assert films == sorted(f"{a}/actor{n:02d}_{a}_0.avi" for a in DEMO_ACTIVITIES for n in (0, 1))
    frames, rate = read(demo / "wave" / "actor01_wave_0.avi")
    assert frames.shape == (CLIP_FRAMES, PICTURE_SIZE[1], PICTURE_SIZE[0], 3)
    assert rate == FRAMES_PER_SECOND


@pytest.mark.parametrize(("forwards", "backwards"), ORDER_PAIRS)
def test_twins_are_reversals_before_compression(forwards, backwards):
    there, back = clip(forwards), clip(backwards)
    assert np.array_equal(there, back[::-1])
    assert np.abs(there[0].astype(int) - there[-1]).mean() > 1, "the film must not be the same both ways"


@pytest.mark.parametrize(("forwards", "backwards"), ORDER_PAIRS)
@pytest.mark.parametrize("sample_fps", [5, 10])
def test_the_mean_of_sampled_frames_tells_nothing_of_the_order(demo, forwards, backwards, sample_fps):
    step = FRAMES_PER_SECOND // sample_fps
    there, back = (read(demo / a / f"actor00_{a}_0.avi")[0][::step] for a in (forwards, backwards))
    assert np.array_equal(there, back[::-1])


def test_films_show_what_render_clip_yields(demo):
    frames, _ = read(demo / "jump" / "actor01_jump_0.avi")
    error = np.abs(frames.astype(int) - clip("jump")).mean()
    assert error < 4.5  # grey levels that compression takes
    assert np.abs(frames[:-1].astype(int) - clip("jump")[1:]).mean() > error  # and not one frame late


def test_actor_take_and_seed_each_change_the_film_and_nothing_else_does():
    first = clip("wave")
    assert np.array_equal(first, clip("wave"))
    for other in ({"actor": 2}, {"take": 1}, {"seed": 4}):
        frame = next(render_clip("wave", **{"actor": 1, "take": 0, "seed": 3} | other))
        assert np.abs(first[0].astype(int) - frame).mean() > 5


def test_the_scene_before_anything_happens_is_the_same_for_all_that_start_upright():
    starts = [
        next(render_clip(activity, actor=1, take=0, seed=3)).astype(int)
        for activity in ("jump", "pick_up", "sit_down", "wave")
    ]
    outside = np.s_[:, :60]  # the shake differs by a film's breath only; the figure stands in the middle
    assert all(np.abs(start[outside] - starts[0][outside]).max() <= 1 for start in starts)


@pytest.mark.parametrize("actor", [0, 4])
def test_the_figure_stays_in_the_square_that_a_centre_crop_keeps(actor):
    left, right = 160 - 105 - 8, 160 + 105 + 8  # 224 of 256 rows and as many columns, and a shadow
    jump, wave, pick_up = (clip(a, actor=actor).astype(int) for a in ("jump", "wave", "pick_up"))
    for one, other in ((jump, wave), (wave, pick_up)):  # room, props and shake are the same in both
        differs = (np.abs(one - other).max(axis=-1) > 40).any(axis=0)
        rows, columns = np.nonzero(differs)
        assert left <= columns.min() < columns.max() < right
        assert 8 <= rows.min() < rows.max() < PICTURE_SIZE[1] - 5


def test_an_unknown_activity_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'swim'.*jump, pick_up"):
        render_clip("swim", actor=0, take=0, seed=0)


def test_a_scene_is_one_activity_after_another_without_a_jump_between_those_that_fit():
    frames = np.stack(list(render_scene(("sit_down", "stand_up", "wave"), actor=0, take=0, seed=3))).astype(int)
    assert len(frames) == 3 * CLIP_FRAMES
    change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    seams = change[[CLIP_FRAMES - 1, 2 * CLIP_FRAMES - 1]]
    assert (seams <= np.quantile(change, 0.9)).all()


def test_a_second_call_does_nothing_and_other_parameters_render_anew(tmp_path):
    render_demo(tmp_path, actors=1, takes=1, seed=0)
    before = snapshot(tmp_path)
    render_demo(tmp_path, actors=1, takes=1, seed=0)
    assert snapshot(tmp_path) == before
    (tmp_path / "wave" / "mine.txt").write_text("keep me")
    render_demo(tmp_path, actors=1, takes=1, seed=1)
    after = snapshot(tmp_path)
    assert set(after) == set(before) | {"wave/mine.txt"}
    assert all(after[name] != before[name] for name in before)


def test_an_interrupted_rendering_is_not_taken_for_complete(tmp_path, monkeypatch):
    def fails(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("activity.data.demo.write_film", fails)
        with pytest.raises(KeyboardInterrupt):
            render_demo(tmp_path, actors=1, takes=1, seed=0)
    assert json.loads((tmp_path / MARKER).read_text())["complete"] is False
    render_demo(tmp_path, actors=1, takes=1, seed=0)
    assert len(list(tmp_path.rglob("*.avi"))) == len(DEMO_ACTIVITIES)


def test_a_folder_with_files_of_the_user_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"not empty.*new or empty folder"):
        render_demo(tmp_path, actors=1, takes=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]
