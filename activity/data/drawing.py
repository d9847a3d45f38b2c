"""How the demo set is drawn: the figure and its props, shaded, with soft shadows, in front of a room.

Places go through one orthographic camera from the body frame of `figure.py` to pixels (x right, y down) and a
depth. Outlines are computed for T pictures at once, so that one picture is a matter of painting.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from activity.data.figure import Build, Colour, Cuboid, Floats, Props

Image = NDArray[np.uint8]

SUBPIXEL_BITS = 4  # OpenCV's fixed-point coordinates: 1/16 pixel
_SHADOW = (150.0,)  # of 255
_CIRCLE = np.stack([np.cos(np.arange(0, 2 * np.pi, 0.6)), np.sin(np.arange(0, 2 * np.pi, 0.6))], axis=-1)


@dataclass(frozen=True)
class Camera:
    """Where T pictures are taken from, and the light.

    size (width, height) in pixels; yaw: radians from facing the camera to facing right; pitch: radians
    looking down; ground (2,): the pixel between the figure's feet; shake (T, 2, 3): similarity transforms;
    shadow: how far shadows fall to the right and towards the camera, metres for a metre of height.
    """

    size: tuple[int, int]
    yaw: float
    pitch: float
    pixels_per_metre: float
    ground: Floats
    shake: Floats
    shadow: tuple[float, float]

    @property
    def light(self) -> Floats:
        """Unit vector (3,) to the light: right, up, towards the camera."""
        light = np.array([-self.shadow[0], 1.0, 0.9])
        return np.asarray(light / np.linalg.norm(light))

    @property
    def glint(self) -> Floats:
        """Where a ball of radius 1 is brightest: (2,), right and down of its middle."""
        return 0.7 * self.light[:2] * [1, -1]

    @property
    def tones(self) -> list[tuple[float, float]]:
        """Ever smaller and brighter outlines make a limb look round: (inset of the radius, brightness)."""
        count = round(2 + self.pixels_per_metre / 45)
        insets = [0.75 * (step / (count - 1)) ** 1.2 for step in range(count)]
        return [(inset, 0.62 + 0.43 * inset**0.8) for inset in insets]

    def turn(self, places: Floats) -> Floats:
        """From the body frame to (right, up, towards the camera), metres."""
        sine, cosine = np.sin(self.yaw), np.cos(self.yaw)
        return np.asarray(places @ np.array([[sine, 0, cosine], [0, 1, 0], [cosine, 0, -sine]]))

    def depth(self, places: Floats) -> Floats:
        """How near places (T, 3) are, metres; larger is nearer."""
        turned = self.turn(places)
        return np.asarray(turned[..., 2] * np.cos(self.pitch) + turned[..., 1] * np.sin(self.pitch))

    def project(self, places: Floats) -> Floats:
        """Pixels (T, N, 2) of places (T, N, 3) in the body frame."""
        return self._pixels(self.turn(places))

    def project_shadow(self, places: Floats) -> Floats:
        """Pixels (T, N, 2) of the shadows on the floor of places (T, N, 3)."""
        turned = self.turn(places)
        right, near = self.shadow
        turned += turned[..., 1:2] * np.array([right, -1.0, near])
        return self._pixels(turned)

    def _pixels(self, turned: Floats) -> Floats:
        down = turned[..., 2] * np.sin(self.pitch) - turned[..., 1] * np.cos(self.pitch)
        still = np.stack([turned[..., 0], down], axis=-1) * self.pixels_per_metre + self.ground
        return np.asarray(still @ self.shake[:, :, :2].swapaxes(1, 2) + self.shake[:, None, :, 2])


@dataclass(frozen=True)
class Shape:
    """Convex outlines painted in turn: each (T, N, 2) fixed-point pixels with a colour; depth (T,)."""

    outlines: Sequence[tuple[NDArray[np.int32], Colour]]
    depth: Floats

    def paint(self, frame: Image, index: int) -> None:
        """Fill the outlines of picture `index`."""
        for outline, colour in self.outlines:
            cv2.fillConvexPoly(frame, outline[index], colour, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_frames(room: Image, camera: Camera, joints: dict[str, Floats], build: Build, props: Props) -> Iterator[Image]:
    """Yield the T pictures (height, width, 3) of a figure in a room that is larger on all sides."""
    box = _block(camera, props.box, joints["box"])
    layers = [
        [_block(camera, props.stool)],
        _legs(camera, joints, build),
        [_block(camera, props.table)],
        [*_upper_body(camera, joints, build), box],
    ]
    shade = _Shade(camera, joints, props)
    margin = (np.array(room.shape[1::-1]) - camera.size) / 2
    for index, shake in enumerate(camera.shake):
        moved = np.column_stack([shake[:, :2], shake[:, 2] - shake[:, :2] @ margin])
        frame: Image = np.asarray(
            cv2.warpAffine(room, moved, camera.size, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
        )
        shade.paint(frame, index)
        for layer in layers:
            for shape in sorted(layer, key=lambda shape: shape.depth[index]):  # the nearest last
                shape.paint(frame, index)
        yield frame


def _legs(camera: Camera, joints: dict[str, Floats], build: Build) -> list[Shape]:
    stout = build.stoutness
    limbs: list[Shape] = []
    for side in (0, 1):
        hip, knee, ankle = (joints[name][:, side] for name in ("hips", "knees", "ankles"))
        heel, toe = joints["heels"][:, side], joints["toes"][:, side]
        limbs += [
            _capsule(camera, heel, toe, (0.05, 0.043), build.shoes),
            _capsule(camera, ankle, knee, (0.048 * stout, 0.065 * stout), build.trousers),
            _capsule(camera, knee, hip, (0.066 * stout, 0.092 * stout), build.trousers),
        ]
    return limbs


def _upper_body(camera: Camera, joints: dict[str, Floats], build: Build) -> list[Shape]:
    stout = build.stoutness
    pelvis, chest, neck = joints["pelvis"], joints["chest"], joints["head"] * 0.5 + joints["chest"] * 0.5
    waist, bust = pelvis + 0.12 * (chest - pelvis), pelvis + 0.86 * (chest - pelvis)
    left, right = joints["shoulders"][:, 0], joints["shoulders"][:, 1]
    hips = joints["hips"]
    inner = 0.7
    limbs: list[Shape] = [
        _capsule(camera, hips[:, 0], hips[:, 1], (0.094 * stout, 0.094 * stout), build.trousers, behind=0.3),
        _capsule(camera, waist, bust, (0.108 * stout, 0.132 * stout), build.shirt, behind=0.1),
        _capsule(
            camera,
            chest + inner * (left - chest),
            chest + inner * (right - chest),
            (0.068 * stout, 0.068 * stout),
            build.shirt,
        ),
        _capsule(camera, chest, neck, (0.055, 0.05), build.skin),
        _head(camera, joints, build),
    ]
    sleeve = build.shirt if build.long_sleeves else build.skin
    for side in (0, 1):
        shoulder, elbow, wrist = (joints[name][:, side] for name in ("shoulders", "elbows", "wrists"))
        limbs += [
            _capsule(camera, shoulder, elbow, (0.062 * stout, 0.049 * stout), build.shirt),
            _capsule(camera, elbow, wrist, (0.046 * stout, 0.036 * stout), sleeve),
            _capsule(camera, wrist, joints["hands"][:, side], (0.04, 0.046), build.skin),
        ]
    return limbs


def _capsule(
    camera: Camera,
    start: Floats,
    end: Floats,
    radii: tuple[float, float],
    colour: Colour,
    *,
    behind: float = 0.0,
) -> Shape:
    """A round limb from start to end (T, 3) with radii in metres; painted as if `behind` metres farther."""
    ends = camera.project(np.stack([start, end], axis=1))
    first, second = (radius * camera.pixels_per_metre for radius in radii)
    outlines = []
    for inset, brightness in camera.tones:
        shift = inset * camera.glint
        outline = _round_hull(ends[:, 0] + shift * first, ends[:, 1] + shift * second, first, second, 1 - inset)
        outlines.append((_fixed(outline), _times(colour, brightness)))
    return Shape(outlines, camera.depth((start + end) / 2) - behind)


def _round_hull(start: Floats, end: Floats, first: float, second: float, scale: float) -> Floats:
    """Hulls (T, N, 2) of two circles at start and end (T, 2) with the radii scale * first, scale * second."""
    span = end - start
    distance = np.maximum(np.linalg.norm(span, axis=-1), 1e-6)
    angle = np.arctan2(span[:, 1], span[:, 0])[:, None]
    tangent = np.arccos(np.clip(scale * (first - second) / distance, -1, 1))[:, None]
    turn = np.linspace(0, 1, 10)
    near, far = angle + tangent + (2 * np.pi - 2 * tangent) * turn, angle + tangent * (2 * turn - 1)
    arcs = [
        centre[:, None] + scale * radius * np.stack([np.cos(turned), np.sin(turned)], axis=-1)
        for centre, radius, turned in ((start, first, near), (end, second, far))
    ]
    return np.concatenate(arcs, axis=1)


def _head(camera: Camera, joints: dict[str, Floats], build: Build) -> Shape:
    """A ball of hair, the face as a cap on it, and the eyes."""
    centre, face = joints["head"], joints["face"]
    crown = np.stack([-face[:, 1], face[:, 0], face[:, 2]], axis=-1)
    chin, top = centre - 0.3 * build.head * crown, centre + 0.2 * build.head * crown
    hair = _capsule(camera, chin, top, (0.92 * build.head, build.head), build.hair)
    middle = camera.project(centre[:, None])
    radius = build.head * camera.pixels_per_metre
    looking = camera.turn(face * 0.85 - crown * 0.53)
    cap = _cap(looking, 1.2)
    cap[..., 1] *= 1.2  # the head is longer than wide
    outlines = list(hair.outlines)
    for inset, brightness in camera.tones:
        outline = middle + radius * (inset * camera.glint + (1 - inset) * cap)
        outlines.append((_fixed(outline), _times(build.skin, brightness)))
    for side in (-1, 1):
        eye = camera.turn(0.92 * face + 0.05 * crown + np.array([0.0, 0.0, 0.38 * side]))
        outline = middle + radius * (eye * [1, -1, 1])[:, None, :2] + 0.1 * radius * _CIRCLE
        outline[eye[:, 2] < 0.1] = -100.0  # round the corner: out of the picture
        outlines.append((_fixed(outline), (35.0, 25.0, 25.0)))
    return Shape(outlines, hair.depth)


def _cap(middle: Floats, opening: float) -> Floats:
    """Outlines (T, N, 2) of what is seen of caps on a unit ball; middle (T, 3), opening in radians."""
    first = np.cross(middle, [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(middle, first)
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)[:, None]
    rim = np.cos(turn) * first[:, None] + np.sin(turn) * second[:, None]
    rim = np.cos(opening) * middle[:, None] + np.sin(opening) * rim
    flat = rim[..., :2] * [1, -1]
    hidden = rim[..., 2:] < 0  # what lies behind is moved to the outline of the ball
    return np.asarray(np.where(hidden, flat / np.linalg.norm(flat, axis=-1, keepdims=True), flat))


def _block(camera: Camera, cuboid: Cuboid, centres: Floats | None = None) -> Shape:
    """The three visible faces of the cuboid at centres (T, 3), or where it stands."""
    if centres is None:
        centres = np.broadcast_to(cuboid.centre, (len(camera.shake), 3))
    outlines = []
    for axis in range(3):
        normal, first, second = (np.eye(3)[(axis + step) % 3] for step in range(3))
        normal = normal * np.sign(camera.depth(normal))  # of two opposite faces, the one that the camera sees
        brightness = 0.62 + 0.45 * max(0.0, float(camera.turn(normal) @ camera.light))
        offsets = [normal + a * first + b * second for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
        corners = camera.project(centres[:, None] + np.array(offsets) * cuboid.half)
        outlines.append((_fixed(corners), _times(cuboid.colour, brightness)))
    return Shape(outlines, camera.depth(centres))


class _Shade:
    """The soft shadows on the floor: of the bones as thick lines, of the props as hulls."""

    def __init__(self, camera: Camera, joints: dict[str, Floats], props: Props) -> None:
        self.size = camera.size
        pairs = [
            ("heels", "toes"),
            ("ankles", "knees"),
            ("knees", "hips"),
            ("shoulders", "elbows"),
            ("elbows", "hands"),
        ]
        bones = [(joints[a][:, side], joints[b][:, side]) for a, b in pairs for side in (0, 1)]
        bones += [(joints["pelvis"], joints["chest"]), (joints["chest"], joints["head"])]
        widths = [0.09] * 2 + [0.11] * 2 + [0.14] * 2 + [0.09] * 4 + [0.24, 0.15]
        self.widths = [max(1, round(width * camera.pixels_per_metre / 2)) for width in widths]
        self.lines = camera.project_shadow(np.stack([end for bone in bones for end in bone], axis=1)) / 2
        corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8).T
        still = len(camera.shake), 8, 3
        self.hulls = [
            camera.project_shadow(np.broadcast_to(cuboid.centre + corners * cuboid.half, still)) / 2
            for cuboid in (props.stool, props.table)
        ]
        self.hulls.append(camera.project_shadow(joints["box"][:, None] + corners * props.box.half) / 2)
        self.blur = max(1.0, 0.018 * camera.pixels_per_metre)

    def paint(self, frame: Image, index: int) -> None:
        """Darken the frame; the mask has half its size, for a shadow is soft."""
        mask = np.full((self.size[1] // 2, self.size[0] // 2), 255, np.uint8)
        for hull in self.hulls:
            outline = cv2.convexHull(hull[index].astype(np.float32))
            cv2.fillConvexPoly(mask, _fixed(outline), _SHADOW, cv2.LINE_8, SUBPIXEL_BITS)
        ends = _fixed(self.lines[index]).reshape(-1, 2, 2).tolist()
        for (start, end), width in zip(ends, self.widths, strict=True):
            cv2.line(mask, start, end, _SHADOW, width, cv2.LINE_8, SUBPIXEL_BITS)
        top = 2 * max(0, int(np.argmax(mask.min(axis=1) < 255) - 3 * self.blur))  # no shadow above this row
        soft = cv2.resize(cv2.GaussianBlur(mask[top // 2 :], (0, 0), self.blur), (self.size[0], self.size[1] - top))
        cv2.multiply(frame[top:], cv2.cvtColor(soft, cv2.COLOR_GRAY2RGB), frame[top:], 1 / 255)


def _times(colour: Colour, brightness: float) -> Colour:
    red, green, blue = (min(255.0, brightness * value) for value in colour)
    return red, green, blue


def _fixed(pixels: NDArray[np.floating]) -> NDArray[np.int32]:
    """Pixels as OpenCV's fixed-point coordinates."""
    return np.asarray(np.rint(pixels * 2**SUBPIXEL_BITS), dtype=np.int32)
