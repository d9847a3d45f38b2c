"""Videos that are copies of each other: byte for byte, or the same pictures encoded, scaled or trimmed anew.

Clips of one scene look much alike without being copies: where the camera stands still, most of each picture is the
same in all of them. So two things must agree, what stays (the mean picture) and what changes over time, each with
its place and in its order. A clip played backwards is no copy, for order may be what tells its class from another;
where it looks the same either way (waving), the better fit decides.

Not found are copies that are cropped, mirrored, rotated, played at another speed, or coded so poorly that a small
movement is lost.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from activity.data.doctor.facts import Thumbnails

# Measured on 25 clips of ten actions before one wall, and on 12 of surveillance cameras: copies (H.264 at two
# qualities, MPEG-4, half the size, darker, half the rate, a tenth cut off at one end or both) have a scene
# correlation of 0.998 and more and, nearly all, a change correlation of 0.95 and more. Different takes with a scene
# correlation of 0.998 reach 0.92: a woman and another stepping sideways in one place, at one speed.
# Poor coding blurs the scene and leaves the changes; a trimmed end does the reverse: the one may make up for the other.
AGREEMENTS = ((0.998, 0.94), (0.99, 0.97))  # of scene and change, at least
# Of 128 bits of hash, copies differ in 30 at most, different clips in 64 on average.
HASH_DISTANCE = 32

_STILL_LEVELS = 2.0  # of 255: a cell whose standard deviation over time is less is noise rather than motion
_STILL_SCENE_CORRELATION = 0.999_5  # nothing moves: the picture alone decides
_OVERLAP = 0.75  # of the shorter one that must be in the other: copies are trimmed slightly
_PHASES = (0.0, 0.25, 0.5, 0.75)  # of an interval: where a trimmed copy's times lie between those of the original
_PROMISING = 0.6  # change correlation at whole intervals, below which no phase helps enough
_PROMISING_SCENE = 0.98  # correlation of mean pictures
_BLOCK = 256  # rows of the distance table at a time: 50 MB for 50,000 videos

Floats = npt.NDArray[np.float32]


def near_identical_pairs(videos: Sequence[Thumbnails]) -> list[tuple[int, int]]:
    """Return the positions of all pairs of videos that show the same, ascending.

    The hashes of all pairs are compared by matrix products in blocks (50,000 videos: 11 seconds of one core and
    230 MB), the pictures of the few pairs whose hashes are near.
    """
    return [pair for pair in _candidates(videos) if are_near_identical(videos[pair[0]], videos[pair[1]])]


def are_near_identical(one: Thumbnails, other: Thumbnails) -> bool:
    """Whether two videos show the same, forwards, apart from encoding, scale, brightness and a little at either end."""
    first, second = _same_grid(one, other)
    moving = np.maximum(first.std(axis=0), second.std(axis=0)) >= _STILL_LEVELS
    if not moving.any():
        return _correlation(first.mean(axis=0), second.mean(axis=0)) >= _STILL_SCENE_CORRELATION
    if _best_alignment(first, second, moving, 0.0)[0] < _PROMISING:
        return False
    scene, change = _agreement(first, second, moving)
    if not any(scene >= least_scene and change >= least_change for least_scene, least_change in AGREEMENTS):
        return False
    return _agreement(first, second[::-1], moving)[1] <= change


def _candidates(videos: Sequence[Thumbnails]) -> Iterator[tuple[int, int]]:
    """Pairs whose hashes, and mean pictures, are near."""
    if not videos:
        return
    # Bits as +1 and -1: a product of 128 of them is 128 - 2 * distance.
    bits = np.array([_bits(video) for video in videos], np.float32)
    scenes = np.stack([_standardised(video.pictures.mean(axis=0)) for video in videos])
    for start in range(0, len(videos), _BLOCK):
        products = bits[start : start + _BLOCK] @ bits[start:].T
        rows, columns = np.nonzero(products >= bits.shape[1] - 2 * HASH_DISTANCE)
        ahead = columns > rows
        rows, columns = rows[ahead] + start, columns[ahead] + start
        for part in range(0, len(rows), 100_000):  # a limit to memory where very many are near
            one, other = rows[part : part + 100_000], columns[part : part + 100_000]
            # Trimming changes the mean a little: the exact figure is that of the parts that overlap.
            alike = np.einsum("ij,ij->i", scenes[one], scenes[other]) >= _PROMISING_SCENE
            yield from zip(one[alike].tolist(), other[alike].tolist(), strict=True)


def _bits(video: Thumbnails) -> Floats:
    data = video.scene_hash.to_bytes(8, "big") + video.motion_hash.to_bytes(8, "big")
    signs: Floats = np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.float32) * 2 - 1
    return signs


def _standardised(picture: npt.NDArray[np.floating]) -> Floats:
    """As a vector of mean 0 and length 1, so that a product is a correlation; of one grey all over, a vector of 0."""
    centred = picture.ravel() - picture.mean()
    scaled: Floats = (centred / max(float(np.linalg.norm(centred)), 1e-6)).astype(np.float32)
    return scaled


def _same_grid(one: Thumbnails, other: Thumbnails) -> tuple[Floats, Floats]:
    """The pictures of both as rows ``(T, 256)``, at the coarser of their intervals."""
    interval = max(one.interval_seconds, other.interval_seconds)
    first, second = (
        video.pictures[:: round(interval / video.interval_seconds)]
        .reshape(-1, video.pictures[0].size)
        .astype(np.float32)
        for video in (one, other)
    )
    return first, second


def _agreement(first: Floats, second: Floats, moving: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Correlations of what stays and of what changes, where the two fit best."""
    _, own, others = max((_best_alignment(first, second, moving, phase) for phase in _PHASES), key=lambda best: best[0])
    scene = _correlation(own.mean(axis=0), others.mean(axis=0))
    return scene, _zero_mean_correlation(_changes(own[:, moving]), _changes(others[:, moving]))


def _best_alignment(
    first: Floats, second: Floats, moving: npt.NDArray[np.bool_], phase: float
) -> tuple[float, Floats, Floats]:
    """Correlation of the changes at the shift where it is largest, and the rows of both that overlap there."""
    if phase > 0 and len(second) > 1:
        second = (1 - phase) * second[:-1] + phase * second[1:]
    own, others = _changes(first[:, moving]), _changes(second[:, moving])
    products = own @ others.T
    energies = [np.concatenate(([0.0], np.cumsum((rows * rows).sum(axis=1)))) for rows in (own, others)]
    needed = max(1, int(np.ceil(_OVERLAP * min(len(first), len(second)))))
    best, best_at = -1.0, (0, 0, min(len(first), len(second)))
    for shift in range(needed - len(second), len(first) - needed + 1):
        i, j = max(0, shift), max(0, -shift)
        length = min(len(first) - i, len(second) - j)
        energy = (energies[0][i + length] - energies[0][i]) * (energies[1][j + length] - energies[1][j])
        correlation = float(products.trace(offset=-shift)) / max(float(np.sqrt(energy)), 1e-6)
        if correlation > best:
            best, best_at = correlation, (i, j, length)
    i, j, length = best_at
    return best, first[i : i + length], second[j : j + length]


def _changes(rows: Floats) -> Floats:
    changes: Floats = rows - rows.mean(axis=0)
    return changes


def _correlation(one: Floats, other: Floats) -> float:
    return _zero_mean_correlation(one - one.mean(), other - other.mean())


def _zero_mean_correlation(one: Floats, other: Floats) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    if lengths == 0:  # one grey all over: alike where both are
        return float(not one.any() and not other.any())
    return float((one * other).sum()) / lengths
