"""The demo set: short films of a drawn figure that does six things, two pairs of them apart in time only.

Within one take the room, the figure, the stool, the table with the box and the camera are the same for all
six activities. A `stand_up` film shows the frames of its twin, the `sit_down` film of the same take, in
reverse; so does `put_down` with `pick_up`. What a single frame, or the mean over frames, can say is thereby
the same for both twins: who tells them apart has seen the order.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from activity.data.clips import DataError
from activity.data.drawing import Camera, Image, draw_frames
from activity.data.figure import Build, Floats, Movements, Pose, Props, skeleton
from activity.data.room import draw_room
from activity.data.segments import Segment

DEMO_ACTIVITIES: tuple[str, ...] = ("jump", "pick_up", "put_down", "sit_down", "stand_up", "wave")
ORDER_PAIRS: tuple[tuple[str, str], ...] = (("sit_down", "stand_up"), ("pick_up", "put_down"))

FRAMES_PER_SECOND = 20
# 2 seconds and one frame: frame k of the reversed film is frame 40 - k, so that a grid of 4, 5 or 10 frames a
# second, which takes every 5th, 4th or 2nd frame, takes the same frames from both twins.
CLIP_FRAMES = 41
PICTURE_SIZE = (320, 240)  # width, height
JPEG_QUALITY = 85
MARKER = ".demo.json"

IDLE_SECONDS = (1.5, 4.0)  # of a long scene, between two movements

# From and to how many seconds a movement takes.
_PACES = {"sit_down": (0.7, 1.2), "pick_up": (1.0, 1.4)}
_PACE = (1.8, 2.0)
# What can be done from a posture, and the postures that are not standing.
_POSSIBLE = {"standing": ("jump", "pick_up", "sit_down", "wave"), "seated": ("stand_up",), "holding": ("put_down",)}
_POSTURE_AFTER = {"sit_down": "seated", "pick_up": "holding"}
_TWINS = dict(ORDER_PAIRS)
_TWIN_OF = {backwards: forwards for forwards, backwards in ORDER_PAIRS}


def render_demo(root: Path, *, actors: int, takes: int, seed: int) -> None:
    """Write root/<activity>/<actor>_<activity>_<take>.avi for every activity, actor and take.

    Does nothing where the same films are there already; replaces the films of other parameters or of an
    interrupted call. Raises DataError where root is not empty and no earlier call has written to it.
    """
    wanted = {"actors": actors, "takes": takes, "seed": seed}
    if not _start_afresh(root, wanted):
        return

    def write_take(actor: int, take: int) -> None:
        stage = _Stage.random(actor, take, seed, PICTURE_SIZE)
        for activity in DEMO_ACTIVITIES:
            if activity not in _TWIN_OF:
                frames = list(stage.clip(activity))
                write_film(_film_path(root, activity, actor, take), frames)
                if activity in _TWINS:
                    write_film(_film_path(root, _TWINS[activity], actor, take), reversed(frames))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads: OpenCV draws and encodes outside the GIL
        list(pool.map(write_take, *zip(*product(range(actors), range(takes)), strict=True)))
    (root / MARKER).write_text(json.dumps(wanted | {"complete": True}))


def _start_afresh(root: Path, wanted: dict[str, int]) -> bool:
    """Whether there is anything to render; if so, remove the films of an earlier call first."""
    marker = root / MARKER
    if marker.exists():
        found = json.loads(marker.read_text())
        if found == wanted | {"complete": True}:
            return False
        marker.write_text(json.dumps(found | {"complete": False}))
        for path in _film_paths(root, found["actors"], found["takes"]):
            path.unlink(missing_ok=True)
    elif root.exists() and any(root.iterdir()):
        raise DataError(
            f"{root} is not empty and holds no {MARKER}, so the demo films would mix with files of yours; "
            "give a new or empty folder"
        )
    for activity in DEMO_ACTIVITIES:
        (root / activity).mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(wanted | {"complete": False}))
    return True


def _film_path(root: Path, activity: str, actor: int, take: int) -> Path:
    return root / activity / f"actor{actor:02d}_{activity}_{take}.avi"


def _film_paths(root: Path, actors: int, takes: int) -> Iterator[Path]:
    for activity in DEMO_ACTIVITIES:
        for actor in range(actors):
            for take in range(takes):
                yield _film_path(root, activity, actor, take)


def write_film(path: Path, frames: Iterable[Image], *, fps: float = FRAMES_PER_SECOND) -> None:
    """Write RGB frames (height, width, 3), all of one size, as a Motion JPEG file (.avi) of a constant rate.

    Each frame is compressed by itself: a codec that predicts frames from those before them would leave other traces
    in a film than in its reversal, and single frames could tell the order after all.
    """
    frames = iter(frames)
    first = next(frames)
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, fps, first.shape[1::-1])
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, JPEG_QUALITY)
    if not writer.isOpened():
        raise OSError(f"cannot write {path}: OpenCV could not open it for Motion JPEG")
    try:
        writer.write(cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
        for frame in frames:
            assert frame.shape == first.shape  # OpenCV leaves out frames of another size without a word
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


def render_clip(
    activity: str, *, actor: int, take: int, seed: int, size: tuple[int, int] = PICTURE_SIZE
) -> Iterator[Image]:
    """Yield the CLIP_FRAMES frames of one film, RGB uint8 (height, width, 3); size: (width, height) pixels.

    >>> [frame.shape for frame in render_clip("wave", actor=0, take=0, seed=0)][40]
    (240, 320, 3)
    """
    return _Stage.random(actor, take, seed, size).clip(activity)


def render_scene(
    activities: Sequence[str], *, actor: int, take: int, seed: int, size: tuple[int, int] = PICTURE_SIZE
) -> Iterator[Image]:
    """Yield the frames of one long film: activity k lasts CLIP_FRAMES frames, from frame k * CLIP_FRAMES on.

    The figure jumps where one activity does not end in the posture in which the next one starts.
    """
    stage = _Stage.random(actor, take, seed, size)
    poses = []
    for number, activity in enumerate(activities):
        forwards = _drawn(activity)
        pose = _perform(forwards, stage, np.random.default_rng([seed, actor, take, 100 + number]))
        poses.append(pose if forwards == activity else pose[::-1])
    return stage.film(Pose.joined(poses))


def render_long_scene(
    activities: int,
    *,
    actor: int,
    take: int,
    seed: int,
    idle_seconds: tuple[float, float] = IDLE_SECONDS,
    size: tuple[int, int] = PICTURE_SIZE,
) -> tuple[Iterator[Image], list[Segment]]:
    """The frames of a long film of one figure that does one thing after another and is idle between, and when it does.

    Idle, it stays as it is: standing, seated until it stands up, or with the box in its hands until it puts that down.
    A segment lasts from where a movement begins to where it ends. The film begins and ends idle.

    Args:
        activities: how many movements.
        actor, take, seed: as for `render_clip`.
        idle_seconds: the shortest and the longest time between two movements.
        size: (width, height) pixels.

    >>> frames, segments = render_long_scene(2, actor=0, take=0, seed=0, size=(80, 60))
    >>> film = list(frames)
    >>> film[0].shape, len(film) > FRAMES_PER_SECOND * segments[-1].end_seconds, len(segments)
    ((60, 80, 3), True, 2)
    """
    stage = _Stage.random(actor, take, seed, size)
    rng = np.random.default_rng([seed, actor, take, 98])
    poses, segments = [], list[Segment]()
    length, posture = 0, "standing"
    for _ in range(activities):
        activity = str(rng.choice(_POSSIBLE[posture]))
        posture = _POSTURE_AFTER.get(activity, "standing")
        pose = _movement(activity, stage, rng)
        idle = round(rng.uniform(*idle_seconds) * FRAMES_PER_SECOND)
        start, length = length + idle, length + idle + len(pose.lean)
        seconds = start / FRAMES_PER_SECOND, length / FRAMES_PER_SECOND
        segments.append(Segment(label=activity, start_seconds=seconds[0], end_seconds=seconds[1]))
        poses += [pose[np.full(idle, 0)], pose]
    poses.append(poses[-1][np.full(round(rng.uniform(*idle_seconds) * FRAMES_PER_SECOND), -1)])
    return stage.film(Pose.joined(poses)), segments


def _movement(activity: str, stage: "_Stage", rng: np.random.Generator) -> Pose:
    """The postures of one activity from its beginning to its end, at a random pace."""
    forwards = _drawn(activity)
    frames = round(rng.uniform(*_PACES.get(forwards, _PACE)) * FRAMES_PER_SECOND)
    pose = _posed(forwards, stage, np.linspace(0, 1, frames), rng)
    return pose if forwards == activity else pose[::-1]


def _drawn(activity: str) -> str:
    """The activity that is drawn to show this one: itself, or the twin of which it is the reversal."""
    if activity not in DEMO_ACTIVITIES:
        raise ValueError(f"unknown activity {activity!r}; the demo knows {', '.join(DEMO_ACTIVITIES)}")
    return _TWIN_OF.get(activity, activity)


def _perform(activity: str, stage: "_Stage", rng: np.random.Generator) -> Pose:
    """CLIP_FRAMES postures of one of the activities that are drawn, at a random moment and pace."""
    times = np.arange(CLIP_FRAMES) / FRAMES_PER_SECOND
    seconds = rng.uniform(*_PACES.get(activity, _PACE))
    phase = np.clip((times - rng.uniform(0, times[-1] - seconds)) / seconds, 0, 1)
    return _posed(activity, stage, phase, rng)


def _posed(activity: str, stage: "_Stage", phase: Floats, rng: np.random.Generator) -> Pose:
    """The postures at the phases (T,), 0 to 1, of one of the activities that are drawn."""
    movements = Movements(stage.build, stage.props)
    match activity:
        case "sit_down":
            return movements.sit_down(phase)
        case "pick_up":
            return movements.pick_up(phase)
        case "wave":
            return movements.wave(phase, hand=int(rng.integers(2)), swings=rng.uniform(2.5, 4.5))
        case _:
            return movements.jump(phase, times=int(rng.integers(2, 4)))


@dataclass(frozen=True)
class _Stage:
    """All that stays the same within one take."""

    build: Build
    props: Props
    room: Image
    camera: Camera
    seed: list[int]

    @classmethod
    def random(cls, actor: int, take: int, seed: int, size: tuple[int, int]) -> "_Stage":
        build = Build.random(np.random.default_rng([seed, actor]))
        rng = np.random.default_rng([seed, actor, take])
        width, height = size
        unit = height / PICTURE_SIZE[1]
        metre = unit * rng.uniform(145, 165) / build.height  # the figure's height in pixels decides
        facing = rng.choice([-1, 1])
        ground = np.array([width / 2 - facing * 4 * unit, 0.88 * height]) + unit * rng.uniform([-10, -4], [10, 4])
        camera = Camera(
            size=size,
            yaw=facing * rng.uniform(0.6, 1.1),
            pitch=rng.uniform(0.22, 0.38),
            pixels_per_metre=metre,
            ground=ground,
            shake=np.zeros((0, 2, 3)),
            shadow=(rng.choice([-1, 1]) * rng.uniform(0.2, 0.6), -rng.uniform(0.1, 0.4)),
        )
        margin = round(16 * unit)
        floor_line = round(ground[1] - rng.uniform(0.8, 1.6) * metre * np.sin(camera.pitch)) + margin
        room_size = width + 2 * margin, height + 2 * margin
        room = draw_room(rng, room_size, floor_line=floor_line, unit=unit)
        return cls(build, Props.random(rng, build), room, camera, [seed, actor, take])

    def clip(self, activity: str) -> Iterator[Image]:
        """The frames of one activity."""
        forwards = _drawn(activity)
        pose = _perform(forwards, self, np.random.default_rng([*self.seed, DEMO_ACTIVITIES.index(forwards)]))
        return self.film(pose, backwards=forwards != activity)

    def film(self, pose: Pose, *, backwards: bool = False) -> Iterator[Image]:
        """The frames of T postures, seen by a hand-held camera; backwards turns all of it round."""
        rng = np.random.default_rng([*self.seed, 99])
        times = np.arange(len(pose.lean)) / FRAMES_PER_SECOND
        breath = 0.006 * _drift(rng, times, 1)
        pose = replace(pose, points=pose.points + breath[:, None] * np.array([[1, 1, 0]] * 3 + [[0, 0, 0]] * 2))
        joints, shake = skeleton(pose, self.build, self.props), self._shake(rng, times)
        if backwards:
            joints, shake = {name: track[::-1] for name, track in joints.items()}, shake[::-1]
        return draw_frames(self.room, replace(self.camera, shake=shake), joints, self.build, self.props)

    def _shake(self, rng: np.random.Generator, times: Floats) -> Floats:
        """Similarity transforms (T, 2, 3): small smooth turns and zooms around the middle, and shifts."""
        size = np.array(self.camera.size)
        drift = _drift(rng, times, 4) * np.array([0.008, 0.008, 0.008 * size[1], 0.006 * size[1]])
        scale, angle = 1 + drift[:, 0], drift[:, 1]
        turn = np.stack([scale * np.cos(angle), scale * np.sin(angle)], axis=-1)
        linear = np.stack([turn * [1, -1], turn[:, ::-1]], axis=1)
        shift = drift[:, 2:] + size / 2 - linear @ (size / 2)
        return np.concatenate([linear, shift[..., None]], axis=2)


def _drift(rng: np.random.Generator, times: Floats, count: int) -> Floats:
    """Smooth random tracks (T, count), about -1 to 1: sums of slow waves, so of the same law backwards."""
    hertz, start = rng.uniform(0.1, 0.9, (3, count)), rng.uniform(0, 2 * np.pi, (3, count))
    waves = np.sin(2 * np.pi * hertz * times[:, None, None] + start)
    return np.asarray(waves.sum(axis=1) / np.sqrt(3))
