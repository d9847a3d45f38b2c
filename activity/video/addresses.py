"""Addresses of streams: told from names of files, and written without what is secret in them."""

import os
import re

WATCH_IT = "activity watch MODEL URL reads streams; give a file here"

_HIDDEN = "***"
_SECRETS = r"(?i)((?:pass\w*|pwd|user(?:name)?|token|secret|key|auth\w*|sig\w*)=)[^/?#&;]*"


def is_address(source: str) -> bool:
    """Whether it is no file but has the form of a URL, also where a path was made of it, which has one slash.

    >>> is_address("rtsp://camera/live"), is_address("rtsp:/camera/live"), is_address("videos/a.mp4")
    (True, True, False)
    """
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", source)) and not os.path.exists(source)  # noqa: PTH110


def without_credentials(url: str) -> str:
    """Return a URL in a form that may be printed: no user and password, and no values in its query.

    >>> without_credentials("rtsp://admin:pa@ss@camera:554/stream?channel=1&token=x")
    'rtsp://camera:554/stream?channel=***&token=***'
    >>> without_credentials("holiday.mp4")
    'holiday.mp4'
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", url, re.DOTALL)
    if found is None or os.path.exists(url):  # noqa: PTH110 - a name may be too long for pathlib
        return url
    scheme, rest = found.groups()
    host, path = _split(rest)
    if "@" not in host and ":" in host and "@" in path:
        # A password with a slash or the like in it; or a port, and a path with an @: better hidden than shown.
        host, path = _split(rest[rest.rindex("@") :])
    host = host.rsplit("@", 1)[-1]
    path, mark, query = path.partition("#")[0].partition("?")
    path = re.sub(_SECRETS, rf"\1{_HIDDEN}", path)  # some cameras have theirs in the path
    query = re.sub(r"=[^&;]*", f"={_HIDDEN}", query) if "=" in query else _HIDDEN
    return f"{scheme}://{host}{path}{mark}{query if mark else ''}"


def _split(rest: str) -> tuple[str, str]:
    """Of what comes after the scheme, the host (with user and port) and the others."""
    end = next((place for place, letter in enumerate(rest) if letter in "/?#"), len(rest))
    return rest[:end], rest[end:]
