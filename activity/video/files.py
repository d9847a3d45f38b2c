"""Find the videos in a folder."""

import os
from pathlib import Path

from activity.video.errors import HANGS_AFTER_SECONDS, VideoError
from activity.video.opening import open_file

_ONLY_VIDEO = {
    *(".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".av1", ".avc", ".avi", ".avs3", ".dav", ".divx", ".dv"),
    *(".evo", ".f4v", ".flv", ".gif", ".h261", ".h263", ".h264", ".h265", ".h26l", ".hevc", ".ivf", ".m1v", ".m2t"),
    *(".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf"),
    *(".nut", ".obu", ".ogm", ".ogv", ".qt", ".rmvb", ".tod", ".tp", ".trp", ".vc1", ".vob", ".vro", ".vvc"),
    *(".webm", ".wmv", ".wtv", ".y4m"),
}
# Also TorchScript models and TypeScript (.ts), sound (.ogg, .rm), music (.mod), data (.dat): the content decides.
_PERHAPS_VIDEO = {".dat", ".mod", ".ogg", ".rm", ".ts"}

VIDEO_SUFFIXES: frozenset[str] = frozenset(_ONLY_VIDEO | _PERHAPS_VIDEO)
"""Suffixes of videos in folders; a file that the user names may have any."""


def find_videos(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the videos in a folder and its subfolders, sorted.

    Names that start with a dot are left out. Each folder is visited once: by its own path, or else by the first link to
    it. Links to a folder that holds `folder` are not followed.
    """
    return scan_folder(folder)[0]


def scan_folder(folder: str | os.PathLike[str]) -> tuple[list[Path], list[Path]]:
    """Return the videos as `find_videos` does, and all other files, sorted too."""
    root = Path(folder)
    if not root.is_dir():
        raise VideoError(os.fspath(folder), "there is no such folder", "give a folder that holds videos")
    videos, others = list[Path](), list[Path]()
    # A link to a folder above leads back to this folder, and to its neighbours.
    visited = {os.path.realpath(path) for path in (*root.absolute().parents, *root.resolve().parents)}
    visited.discard(os.path.realpath(root))  # it may itself be a link to a folder above
    starts = [root]
    for start in starts:
        links = list[Path]()
        for path, folders, files in os.walk(start, onerror=_raise_unreadable):
            if (target := os.path.realpath(path)) in visited:
                folders.clear()
                continue
            visited.add(target)
            folders[:] = [name for name in folders if name[0] != "."]
            links += (link for name in folders if (link := Path(path, name)).is_symlink())  # not walked into
            for file in (Path(path, name) for name in files if name[0] != "."):
                (videos if is_video(file) else others).append(file)
        starts += sorted(links)
    return sorted(videos), sorted(others)


def is_video(path: Path) -> bool:
    """Tell by the suffix, and if it is ambiguous by the content."""
    suffix = path.suffix.lower()
    if suffix not in _PERHAPS_VIDEO:
        return suffix in _ONLY_VIDEO
    try:
        container, _ = open_file(str(path), hang_seconds=HANGS_AFTER_SECONDS)
    except VideoError:
        return not os.access(path, os.R_OK)  # reading it then reports the permissions
    container.close()
    return True


def _raise_unreadable(error: OSError) -> None:
    reason = f"the folder cannot be read ({error.strerror})"
    raise VideoError(str(error.filename), reason, "change its permissions, or take it out")
