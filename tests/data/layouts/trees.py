"""Small trees on disk in the formats of published data sets; empty files for videos, unless a writer is given."""

from collections.abc import Callable, Sequence
from pathlib import Path

from activity.data.clips import Manifest

# (path, class): writes a video there.
WriteVideo = Callable[[Path, str], object]

# The part of classInd.txt around the two pairs whose order is not that of sorted names.
UCF101_CLASSES = {
    35: "Hammering",
    36: "HammerThrow",
    37: "HandstandPushups",
    47: "JumpingJack",
    48: "JumpRope",
}
# Names as they are in the real data set, by class; with the codes of split 1.
HMDB51_VIDEOS = {
    "kick_ball": {
        "Amazing_Soccer_#2_kick_ball_f_cm_np1_ba_bad_5.avi": 1,
        "Amazing_Soccer_#2_kick_ball_f_cm_np1_le_bad_2.avi": 1,
        "(HQ)_Rugby_Kicking_Tips_[1];_it's_easy!_kick_ball_f_nm_np1_fr_med_0.avi": 1,
        "Goal_Kicking_-_Rugby_kick_ball_f_cm_np1_fr_med_1.avi": 2,
        "FIFA_11_Gamescom-Trailer_kick_ball_f_cm_np2_ba_med_0.avi": 0,
    },
    "ride_bike": {
        "#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ba_med_0.avi": 1,
        "1989_Tour_de_France_Final_Time_Trial_ride_bike_f_cm_np1_ba_med_1.avi": 1,
        "Yorki_Kassy_beim_Fahrrad_fahren_ride_bike_f_cm_np1_le_med_2.avi": 2,
    },
}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_csv(folder: Path, text: str | bytes, name: str = "clips.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def names(manifest: Manifest) -> list[tuple[str, str]]:
    return [(clip.name, clip.label) for clip in manifest.clips]


def _empty(path: Path, label: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def ucf101_name(label: str, group: int) -> str:
    """`Class/v_Class_gNN_c01.avi`, with the one known quirk: file names say HandStand, the folder Handstand."""
    return f"{label}/v_{label.replace('Handstand', 'HandStand')}_g{group:02d}_c01.avi"


def write_ucf101(
    root: Path,
    *,
    lists: str = "ucfTrainTestlist",
    videos: str = "UCF-101",
    groups: Sequence[int] = (1, 2, 8, 9),
    write: WriteVideo = _empty,
) -> Path:
    """One clip for each class and group; in split 1 groups 1 to 7 are the test, in split 2 groups 8 to 14.

    The lists have CRLF line ends, and the training list alone gives class numbers, as the real ones.
    """
    for label in UCF101_CLASSES.values():
        for group in groups:
            write(root / videos / ucf101_name(label, group), label)
    folder = root / lists
    write_csv(folder, "".join(f"{number} {label}\r\n" for number, label in UCF101_CLASSES.items()), "classInd.txt")
    for split in (1, 2):
        train, test = "", ""
        for number, label in UCF101_CLASSES.items():
            for group in groups:
                if (group - 1) // 7 + 1 == split:
                    test += f"{ucf101_name(label, group)}\r\n"
                else:
                    train += f"{ucf101_name(label, group)} {number}\r\n"
        write_csv(folder, train, f"trainlist0{split}.txt")
        write_csv(folder, test, f"testlist0{split}.txt")
    return root


def write_hmdb51(root: Path, *, lists: str = "testTrainMulti_7030_splits", write: WriteVideo = _empty) -> Path:
    """`HMDB51_VIDEOS` and their lists, whose lines end in a space, as the real ones."""
    for label, codes in HMDB51_VIDEOS.items():
        for name in codes:
            write(root / label / name, label)
        write_csv(
            root / lists, "".join(f"{name} {code} \n" for name, code in codes.items()), f"{label}_test_split1.txt"
        )
    return root


def kinetics_csv(*rows: tuple[str, str, int, str]) -> str:
    """A table from (label, id, start, split); each clip lasts 10 seconds."""
    lines = [f'"{label}",{video},{start},{start + 10},{split},0' for label, video, start, split in rows]
    return "\n".join(["label,youtube_id,time_start,time_end,split,is_cc", *lines, ""])
