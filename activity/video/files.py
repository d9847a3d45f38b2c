"""Which files of a folder are videos."""

import os
from pathlib import Path

from activity.video.errors import VideoError
from activity.video.opening import open_file

_ONLY_VIDEO = {
    *(".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".av1", ".avc", ".avi", ".avs3", ".dav", ".divx", ".dv"),
    *(".evo", ".f4v", ".flv", ".gif", ".h261", ".h263", ".h264", ".h265", ".h26l", ".hevc", ".ivf", ".m1v", ".m2t"),
    *(".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf"),
    *(".nut", ".obu", ".ogm", ".ogv", ".qt", ".rmvb", ".tod", ".tp", ".trp", ".vc1", ".vob", ".vro", ".vvc"),
    *(".webm", ".wmv", ".wtv", ".y4m"),
}
# Also models in TorchScript and programs (.ts), sound (.ogg, .rm), music (.mod), data (.dat): the content says which.
_PERHAPS_VIDEO = {".dat", ".mod", ".ogg", ".rm", ".ts"}

VIDEO_SUFFIXES: frozenset[str] = frozenset(_ONLY_VIDEO | _PERHAPS_VIDEO)
"""Of what FFmpeg reads, the suffixes that may mean a video; a file that is named outright may have any."""


def find_videos(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the videos in a folder and the folders in it, sorted; names that start with a dot are left out.

    A file is taken by its suffix, in any case (`VIDEO_SUFFIXES`), and by its content where that has two meanings.
    Linked folders are followed, each once, but not to what the folder itself lies in.
    """
    return scan_folder(folder)[0]


def scan_folder(folder: str | os.PathLike[str]) -> tuple[list[Path], list[Path]]:
    """Return the videos as `find_videos` does, and the other files there, sorted too."""
    if not Path(folder).is_dir():
        raise VideoError(os.fspath(folder), "there is no such folder", "give a folder that holds videos")
    videos, others = list[Path](), list[Path]()
    # A link to what the folder lies in leads back to it, and to its neighbours.
    above = {*Path(folder).absolute().parents, *Path(os.path.realpath(folder)).parents}
    visited = {os.path.realpath(path) for path in above}
    for path, folders, files in os.walk(folder, followlinks=True, onerror=_raise_unreadable):
        visited.add(os.path.realpath(path))
        folders[:] = [
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(path, name)) not in visited
        ]
        for name in files:
            if not name.startswith("."):
                (videos if is_video(Path(path, name)) else others).append(Path(path, name))
    return sorted(videos), sorted(others)


def is_video(path: Path) -> bool:
    """Whether a file of a folder is a video, as `find_videos` says it."""
    suffix = path.suffix.lower()
    if suffix not in _PERHAPS_VIDEO:
        return suffix in _ONLY_VIDEO
    try:
        container, _ = open_file(str(path))
    except VideoError:
        return not os.access(path, os.R_OK)  # then reading it says so
    except OSError:
        return True
    container.close()
    return True


def _raise_unreadable(error: OSError) -> None:
    reason = f"the folder cannot be read ({error.strerror})"
    raise VideoError(str(error.filename), reason, "change its permissions, or take it out")
