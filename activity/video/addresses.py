"""Addresses of streams: tell them from file names, and hide their secrets."""

import os
import re

WATCH_IT = "activity watch MODEL URL reads streams; give a file here"

# Scheme, host with port, path and query. Users and passwords are skipped. A password may contain "/" or "?":
# then "host:port/path@x" may be "user:password@x", and it is better to skip too much than to show a password.
_URL = re.compile(r"(?s)([A-Za-z][A-Za-z0-9+.-]+):/+(?:[^/?#]*@|(?=[^/?#]*:).*@)?([^/?#]*)([^?#]*)(\?[^#]*)?")
_SECRETS = re.compile(r"(?i)((?:pass\w*|pwd|user(?:name)?|token|secret|key|auth\w*|sig\w*)=)[^/?#&;]*")


def is_address(source: str) -> bool:
    """Whether a source looks like a URL, and no such file exists.

    One slash is enough, because `Path` keeps only one.

    >>> is_address("rtsp://camera/live"), is_address("rtsp:/camera/live"), is_address("videos/a.mp4")
    (True, True, False)
    """
    return _match(source) is not None


def without_credentials(url: str) -> str:
    """Return a URL without user, password and the values in its query.

    >>> without_credentials("rtsp://admin:pa@ss@camera:554/stream?channel=1&token=x")
    'rtsp://camera:554/stream?channel=***&token=***'
    >>> without_credentials("holiday.mp4")
    'holiday.mp4'
    """
    parts = _match(url)
    if parts is None:
        return url
    scheme, host, path, query = parts.groups(default="")
    path = _SECRETS.sub(r"\1***", path)  # some cameras have their password in the path
    query = re.sub(r"=[^&;]*", "=***", query) if "=" in query else query and "?***"
    return f"{scheme}://{host}{path}{query}"


def _match(source: str) -> re.Match[str] | None:
    return None if os.path.exists(source) else _URL.match(source)  # noqa: PTH110 - pathlib refuses very long names
