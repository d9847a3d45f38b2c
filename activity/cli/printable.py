"""Text for people: what a terminal would obey or break a line at is escaped.

A file name or a label may hold any character. JSON and CSV keep the names as they are.
"""

import re
import sys

# Control characters, line and paragraph separators, changes of direction, and bytes that are not UTF-8.
_UNPRINTABLE = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_IN_CELL = re.compile(_UNPRINTABLE)
# The further lines of our messages are indented by two spaces; any other newline is of a name.
_IN_MESSAGE = re.compile(rf"(?!\n  ){_UNPRINTABLE}")


def printable(text: str) -> str:
    r"""Return a text for one line of a table, with escapes as Python writes them.

    >>> print(printable("a\x1b[31mred\nb.mp4"))
    a\x1b[31mred\nb.mp4
    """
    return _IN_CELL.sub(_escaped, text)


def printable_message(text: str) -> str:
    r"""Return a message with escapes as Python writes them; its own further lines stay.

    >>> print(printable_message("2 problems:\n  a\nb.mp4: no video"))
    2 problems:
      a\nb.mp4: no video
    """
    return _IN_MESSAGE.sub(_escaped, text)


def tell(message: str) -> None:
    """Print a message on standard error."""
    print(printable_message(message), file=sys.stderr, flush=True)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
