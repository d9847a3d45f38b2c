"""The figure of the demo set: a random build, the things around it, its movements and its joints.

Lengths are metres. The body frame is (forward, up, left), the feet at the origin. Every movement is a
function of a phase between 0 and 1, so that played backwards it is the opposite movement and nothing else.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Colour = tuple[float, float, float]

ANKLE_HEIGHT = 0.07
SIDES = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])  # left, right
BOTH_SIDES = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])  # (forward, up, outwards) for left, right
HANGING = 0.2  # radians between an arm at rest and the vertical


def random_colour(rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A colour of any hue: red, green and blue from 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return 255 * red, 255 * green, 255 * blue


@dataclass(frozen=True)
class Build:
    """Bone lengths and half widths in metres, how stout the limbs are (1 is average), and the colours."""

    height: float
    leg: float
    torso: float
    arm: float
    hips: float
    shoulders: float
    head: float
    stoutness: float
    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    long_sleeves: bool

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Build":
        """A grown-up of 1.5 to 1.9 m in clothes of any colour."""
        height = rng.uniform(1.5, 1.9)
        fair, dark = np.array([250.0, 214.0, 184.0]), np.array([96.0, 62.0, 42.0])
        red, green, blue = fair + (dark - fair) * rng.random()
        return cls(
            height=height,
            leg=height * rng.uniform(0.45, 0.49),
            torso=height * rng.uniform(0.27, 0.30),
            arm=height * rng.uniform(0.32, 0.36),
            hips=height * rng.uniform(0.047, 0.058),
            shoulders=height * rng.uniform(0.098, 0.118),
            head=height * rng.uniform(0.062, 0.078),
            stoutness=rng.uniform(0.9, 1.25),
            skin=(red, green, blue),
            hair=random_colour(rng, saturation=(0.1, 0.6), value=(0.1, 0.5)),
            shirt=random_colour(rng, saturation=(0.45, 0.9), value=(0.5, 0.95)),
            trousers=random_colour(rng, saturation=(0.2, 0.7), value=(0.22, 0.6)),
            shoes=random_colour(rng, saturation=(0.0, 0.5), value=(0.1, 0.9)),
            long_sleeves=bool(rng.random() < 0.5),
        )


@dataclass(frozen=True)
class Cuboid:
    """A box with its edges along the body frame: centre and half sizes in metres, each (3,)."""

    centre: Floats
    half: Floats
    colour: Colour


@dataclass(frozen=True)
class Props:
    """What stands around the figure whatever it does: a stool behind it, a box on a low table before it."""

    stool: Cuboid
    table: Cuboid
    box: Cuboid

    @classmethod
    def random(cls, rng: np.random.Generator, build: Build) -> "Props":
        """Props that fit the build: a seat at knee height, a box within reach."""
        seat, table = 0.5 * build.leg - rng.uniform(0.04, 0.09), rng.uniform(0.08, 0.32)
        box_half = rng.uniform([0.12, 0.11, 0.15], [0.15, 0.16, 0.19])
        distance = 0.40 + box_half[0] + rng.uniform(0.0, 0.06)
        wood = random_colour(rng, saturation=(0.2, 0.6), value=(0.35, 0.8))
        return cls(
            stool=Cuboid(
                np.array([-0.46 * build.leg - 0.08, seat / 2, 0.0]),
                np.array([rng.uniform(0.15, 0.19), seat / 2, rng.uniform(0.16, 0.24)]),
                random_colour(rng, saturation=(0.2, 0.6), value=(0.35, 0.8)),
            ),
            table=Cuboid(
                np.array([distance, table / 2, 0.0]),
                np.array([box_half[0] + 0.05, table / 2, box_half[2] + rng.uniform(0.06, 0.2)]),
                wood,
            ),
            box=Cuboid(
                np.array([distance, table + box_half[1], 0.0]),
                box_half,
                random_colour(rng, saturation=(0.5, 0.95), value=(0.6, 1.0)),
            ),
        )


@dataclass(frozen=True)
class Pose:
    """What a movement decides, one posture or T of them; the other joints follow by inverse kinematics.

    points (..., 5, 3): pelvis, left and right wrist, left and right ankle in the body frame; lean (...) of
    the torso, radians forwards; held (...), above 0.5 where the hands hold the box.
    """

    points: Floats
    lean: Floats
    held: Floats

    def towards(self, other: "Pose", weight: Floats) -> "Pose":
        """The postures between this one (weight 0) and another (weight 1), for weights (T,)."""
        return Pose(
            self.points + (other.points - self.points) * weight[:, None, None],
            self.lean + (other.lean - self.lean) * weight,
            self.held + (other.held - self.held) * weight,
        )

    @staticmethod
    def joined(poses: "Sequence[Pose]") -> "Pose":
        """One after another in time."""
        return Pose(*(np.concatenate(track) for track in zip(*map(astuple, poses), strict=True)))

    def __getitem__(self, index: slice | NDArray[np.int_]) -> "Pose":
        return Pose(self.points[index], self.lean[index], self.held[index])


def ease(phase: Floats) -> Floats:
    """Minimum-jerk progress, 0 to 1: slow at both ends and the same backwards (Flash and Hogan, 1985)."""
    phase = np.clip(phase, 0.0, 1.0)
    return phase**3 * (10 - 15 * phase + 6 * phase**2)


@dataclass(frozen=True)
class Movements:
    """What one figure does among its props. Each movement takes phases (T,), 0 to 1, and gives T postures."""

    build: Build
    props: Props

    def sit_down(self, phase: Floats) -> Pose:
        """From standing to seated, bowing forwards on the way."""
        pose = self.standing.towards(self.seated, ease(phase))
        return replace(pose, lean=pose.lean + 0.6 * np.sin(np.pi * ease(phase)) ** 2)

    def pick_up(self, phase: Floats) -> Pose:
        """From standing down to the box, and up again with it."""
        down = self.standing.towards(self.reaching, ease(2 * phase))
        up = self.reaching.towards(self.holding, ease(2 * phase - 1))
        before = phase < 0.5
        return Pose(
            np.where(before[:, None, None], down.points, up.points),
            np.where(before, down.lean, up.lean),
            np.where(before, 0.0, 1.0),
        )

    def wave(self, phase: Floats, *, hand: int, swings: float) -> Pose:
        """One hand (0 left, 1 right) is raised, swings to and fro, and is lowered."""
        raised = ease(np.minimum(phase, 1 - phase) / 0.14)
        angle = HANGING + raised * (2.3 + 0.45 * np.sin(2 * np.pi * swings * phase))
        pose = self.standing.towards(self.standing, phase)
        moved = self._arm(angle) - self._arm(np.array(HANGING))
        pose.points[:, 1 + hand] += (1 - 0.1 * raised[:, None]) * moved * BOTH_SIDES[hand]
        return pose

    def jump(self, phase: Floats, *, times: int) -> Pose:
        """Jumping jacks: a hop opens arms and legs, a second one closes them."""
        turn = 2 * np.pi * times * phase
        opened = (1 - np.cos(turn)) / 2
        pose = self.standing.towards(self.standing, phase)
        moved = self._arm(HANGING + 2.4 * opened) - self._arm(np.array(HANGING))
        pose.points[:, 1:3] += moved[:, None] * BOTH_SIDES
        pose.points[:, 3:5] += 0.34 * opened[:, None, None] * SIDES
        pose.points[:, 0, 1] -= 0.10 * opened
        pose.points[:, :, 1] += 0.16 * np.abs(np.sin(turn))[:, None]
        return pose

    @property
    def standing(self) -> Pose:
        """Upright, the arms hanging."""
        pelvis = np.array([0.0, ANKLE_HEIGHT + 0.99 * self.build.leg, 0.0])
        return self._posture(pelvis, 0.03, self._arm(np.array(HANGING)))

    @property
    def seated(self) -> Pose:
        """On the stool, the hands on the knees."""
        pelvis = np.array([-0.46 * self.build.leg - 0.04, 2 * self.props.stool.half[1] + 0.09, 0.0])
        return self._posture(pelvis, -0.04, np.array([0.40 * self.build.leg, 0.10 - self.build.torso, -0.02]))

    @property
    def reaching(self) -> Pose:
        """Bent down, the hands on the sides of the box."""
        box = self.props.box
        pelvis = np.array([-0.20, ANKLE_HEIGHT + 0.55 * self.build.leg + 0.5 * box.centre[1], 0.0])
        pose = self._posture(pelvis, 1.35, np.zeros(3))
        pose.points[1:3] = box.centre + np.array([0.0, 0.04, 0.0]) + (box.half[2] + 0.03) * SIDES
        return pose

    @property
    def holding(self) -> Pose:
        """Upright, the box before the belly."""
        half = self.props.box.half
        apart = half[2] + 0.03 - self.build.shoulders
        hands = np.array([half[0] + 0.22, -0.45 * self.build.torso, apart])
        return replace(self._posture(self.standing.points[0], -0.05, hands), held=np.array(1.0))

    def _posture(self, pelvis: Floats, lean: float, hands: Floats) -> Pose:
        """A posture with both feet at home; hands (forward, up, outwards) count from the shoulders."""
        wrists = self._shoulders(pelvis, lean) + hands * BOTH_SIDES
        ankles = np.array([0.0, ANKLE_HEIGHT, 0.0]) + (self.build.hips + 0.02) * SIDES
        return Pose(np.vstack([pelvis, wrists, ankles]), np.array(lean), np.array(0.0))

    def _shoulders(self, pelvis: Floats, lean: float) -> Floats:
        return pelvis + self.build.torso * _tilted(np.array(lean)) + self.build.shoulders * SIDES

    def _arm(self, angle: Floats) -> Floats:
        """From the shoulder to the wrist (..., 3), the arm held sideways: 0 radians hangs, pi points up."""
        forward_up_outwards = [0.07 * np.cos(angle), -np.cos(angle), np.sin(angle)]
        return 0.95 * self.build.arm * np.stack(forward_up_outwards, axis=-1)


def skeleton(pose: Pose, build: Build, props: Props) -> dict[str, Floats]:
    """Every joint of T postures in the body frame: (T, 3), or (T, 2, 3) for those with a left and a right.

    Also `box`, the centre of the box: where it lies, or between the hands that hold it.
    """
    pelvis, wrists, ankles = pose.points[:, 0], pose.points[:, 1:3], pose.points[:, 3:5]
    chest = pelvis + build.torso * _tilted(pose.lean)
    gaze = 0.55 * pose.lean  # the head bows less than the back
    hips = pelvis[:, None] + build.hips * SIDES
    shoulders = chest[:, None] + build.shoulders * SIDES
    half_leg, half_arm = 0.5 * build.leg, 0.5 * build.arm
    knees, ankles = _two_links(hips, ankles, half_leg, np.array([1.0, 0.0, 0.0]) + 0.2 * SIDES)
    elbows, wrists = _two_links(shoulders, wrists, half_arm, np.array([-0.7, -0.7, 0.0]) + 0.6 * SIDES)
    forearms = (wrists - elbows) / half_arm
    return {
        "pelvis": pelvis,
        "chest": chest,
        "head": chest + 2.15 * build.head * _tilted(gaze),
        "face": np.stack([np.cos(gaze), -np.sin(gaze), 0 * gaze], axis=-1),  # a direction, not a place
        "hips": hips,
        "knees": knees,
        "ankles": ankles,
        "heels": ankles + np.array([-0.05, -0.03, 0.0]),
        "toes": ankles + np.array([0.13, -0.035, 0.0]) + 0.03 * SIDES,
        "shoulders": shoulders,
        "elbows": elbows,
        "wrists": wrists,
        "hands": wrists + 0.07 * forearms,
        "box": np.where(pose.held[:, None] > 0.5, wrists.mean(axis=1) - [0.0, 0.04, 0.0], props.box.centre),
    }


def _tilted(lean: Floats) -> Floats:
    """The upward direction (..., 3) of something that leans forwards by (...) radians."""
    return np.stack([np.sin(lean), np.cos(lean), np.zeros_like(lean)], axis=-1)


def _two_links(start: Floats, end: Floats, link: float, pole: Floats) -> tuple[Floats, Floats]:
    """The middle joint of two equal links, bent towards `pole`, and the end, drawn in if out of reach."""
    span = end - start
    distance = np.linalg.norm(span, axis=-1, keepdims=True)
    along = span / distance
    distance = np.minimum(distance, 1.995 * link)
    sideways = pole - along * np.sum(pole * along, axis=-1, keepdims=True)
    sideways /= np.linalg.norm(sideways, axis=-1, keepdims=True)
    middle = start + along * distance / 2 + sideways * np.sqrt(link**2 - (distance / 2) ** 2)
    return middle, start + along * distance
