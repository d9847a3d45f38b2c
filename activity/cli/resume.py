"""Results of an interrupted `activity predict`: which sources are done, and where in the file."""

import itertools
import json
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from activity.cli.arguments import UsageError
from activity.cli.results import Span, rearrange
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
        span: where in the file its line is.
    """

    source: str
    failed: bool
    model: str
    labels: int
    span: Span


class EarlierResults:
    """What a file of JSON lines holds of some sources.

    Args:
        path: the file.
        sources: which videos are wanted.
    """

    def __init__(self, path: Path, sources: Sequence[str]) -> None:
        self._path = path
        self.earlier = read_results(path)
        self.spans = _share_out(self.earlier, sources)
        """What is kept of the file, by the position of its source; of other sources by positions below -1."""
        self.remaining = [position for position in range(len(sources)) if position not in self.spans]
        """The positions of the sources that are still to be computed."""

    def leave_what_is_kept(self) -> None:
        """Remove half lines and what is to be computed again from the file; the rest stays in order."""
        if self._path.exists():
            positions = sorted(self.spans)
            self.spans = dict(
                zip(positions, rearrange(self._path, [self.spans[each] for each in positions]), strict=True)
            )


def read_results(path: Path) -> list[EarlierResult]:
    """The whole lines of a file that `activity predict --format jsonl` wrote; none where there is no file.

    A last line without its end was being written when the run was killed, and is left out.

    Raises:
        UsageError: a line is something else.
    """
    if not path.exists():
        return []
    results, start = list[EarlierResult](), 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                results.append(_read_line(path, number, line, start))
                start += len(line)
    return results


def check_same_model(results: EarlierResults, path: Path, *, model: Path, top_k: int) -> None:
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


def _share_out(earlier: Sequence[EarlierResult], sources: Sequence[str]) -> dict[int, Span]:
    """The lines that are kept: those of these sources by their positions, those of others before them.

    A source that is given twice has two lines.
    """
    open_positions: defaultdict[str, deque[int]] = defaultdict(deque)
    for position, source in enumerate(sources):
        open_positions[source].append(position)
    kept: dict[int, Span] = {}
    others = itertools.count(-len(earlier) - 1)
    for result in earlier:
        if result.failed and result.source in open_positions:
            continue  # it is tried again
        positions = open_positions.get(result.source)
        kept[positions.popleft() if positions else next(others)] = result.span
    return kept


def _read_line(path: Path, number: int, line: bytes, start: int) -> EarlierResult:
    try:
        fields: Any = json.loads(line.decode())
        source, failed = fields["source"], "error" in fields
        model, labels = ("", 0) if failed else (fields["model"], len(fields["top"]))
    except (ValueError, KeyError, TypeError):
        source, failed, model, labels = None, False, None, 0
    if not (isinstance(source, str) and isinstance(model, str) and (failed or labels)):
        raise UsageError(
            f"{path}, line {number} is no result of this version's activity predict --format jsonl, so --resume cannot "
            f"go on there. {_BEGIN_ANEW}."
        )
    return EarlierResult(source, failed, model, labels, (start, len(line)))
