"""Results of an interrupted `activity predict`: which sources are done, and a file that stays in their order."""

import json
import os
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity.cli.arguments import UsageError
from activity.files import write_atomically
from activity.formats.verified import model_digest

_BEGIN_ANEW = "Give --force to begin anew, or another --output"


@dataclass(frozen=True)
class EarlierResult:
    """A line of an earlier run.

    Attributes:
        source: of which video.
        failed: it could not be read.
        model: `model_digest` of what made it; nothing of a failed one.
        labels: how many classes it names; none of a failed one.
        line: as it stands in the file, with its end.
    """

    source: str
    failed: bool
    model: str
    labels: int
    line: str


class ResultsFile:
    """JSON lines in the order of the sources, those of an earlier run kept: whatever ends a run, no line is lost.

    What is computed is appended. Where that leaves the lines in another order, as after a source that had failed, the
    file is rewritten in the end, and by the next run after an interruption.

    Args:
        path: the file; an existing one is read.
        sources: which videos are wanted.
    """

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        self._path = Path(os.path.realpath(path))  # a link stays one
        self.earlier = read_results(path)
        self._others, self._lines = _share_out(self.earlier, sources)
        self._following = iter([place for place, line in enumerate(self._lines) if line is None])
        self.remaining = [source for source, line in zip(sources, self._lines, strict=True) if line is None]
        """The sources that are still to be computed, in their order."""

    def begin(self) -> None:
        """Leave in the file what is kept."""
        self._rewrite()

    def add(self, line: str) -> None:
        """Take note of a line that was appended: that of the next of the remaining sources."""
        self._lines[next(self._following)] = line

    def end(self) -> None:
        """Bring the lines into the order of the sources."""
        self._rewrite()

    def _rewrite(self) -> None:
        lines = [*self._others, *(line for line in self._lines if line is not None)]
        wanted = "".join(lines).encode(errors="backslashreplace")
        if not self._path.exists() or self._path.read_bytes() != wanted:
            write_atomically(self._path, wanted)


def read_results(path: Path) -> list[EarlierResult]:
    """The whole lines of a file that `activity predict --format jsonl` wrote; none where there is no file.

    A last line without its end was being written when the run was killed, and is left out.

    Raises:
        UsageError: a line is something else.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [_read_line(path, number, line) for number, line in enumerate(lines, 1)]


def check_same_model(results: ResultsFile, path: Path, *, model: Path, top_k: int) -> None:
    """Refuse to go on where the lines of one file would be of two kinds.

    Raises:
        UsageError: the results are of another model file, or `top_k` was another.
    """
    digest = model_digest(model)
    for result in results.earlier:
        if result.failed:
            continue
        if result.model != digest:
            raise UsageError(
                f"{path} has results of another model ({result.model}) than {model} ({digest}). Give the model that "
                f"they were made with to go on. {_BEGIN_ANEW}."
            )
        if result.labels != top_k:
            raise UsageError(
                f"{path} was written with --top-k {result.labels}, and now it is {top_k}. Give --top-k {result.labels} "
                f"to go on. {_BEGIN_ANEW}."
            )


def _share_out(earlier: Sequence[EarlierResult], sources: Sequence[str]) -> tuple[list[str], list[str | None]]:
    """Lines of other sources, and a line for each of these, None where it is to be computed.

    A source that is given twice has two lines.
    """
    wanted = Counter(sources)
    done: defaultdict[str, deque[str]] = defaultdict(deque)
    others = []
    for result in earlier:
        if result.failed and result.source in wanted:
            continue  # it is tried again
        if len(done[result.source]) < wanted[result.source]:
            done[result.source].append(result.line)
        else:
            others.append(result.line)
    return others, [done[source].popleft() if done[source] else None for source in sources]


def _read_line(path: Path, number: int, line: bytes) -> EarlierResult:
    try:
        text = line.decode()
        fields: Any = json.loads(text)
        source, failed = fields["source"], "error" in fields
        model, labels = ("", 0) if failed else (fields["model"], len(fields["top"]))
    except (ValueError, KeyError, TypeError):
        source, failed, model, labels, text = None, False, None, 0, ""
    if not (isinstance(source, str) and isinstance(model, str) and (failed or labels)):
        raise UsageError(
            f"{path}, line {number} is no result of this version's activity predict --format jsonl, so --resume cannot "
            f"go on there. {_BEGIN_ANEW}."
        )
    return EarlierResult(source, failed, model, labels, text + "\n")
