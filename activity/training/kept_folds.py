"""The scores of folds that are done, on the disk: a cross-validation that was stopped trains the others alone."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from activity.features.outcome import StoredClip
from activity.files import write_atomically
from activity.training.crossval import FoldClips, FoldScores


class KeptFolds:
    """The scores of one cross-validation; those of other clips, heads or settings are not taken for its own.

    Args:
        folder: where they are kept, in a folder for each cross-validation.
        folds: all of them.
        heads: as for `cross_validate`.
        settings: all else that the scores depend on, as plain Python.

    Attributes:
        folder: that of this cross-validation, there once something is kept.
    """

    def __init__(
        self,
        folder: Path,
        folds: Sequence[FoldClips],
        heads: Mapping[str, Mapping[str, Any]],
        settings: Mapping[str, Any],
    ) -> None:
        self._folds = {fold.name: fold for fold in folds}
        self._heads = tuple(heads)
        # A clip is tested in one fold and trained on in the others: one change makes all scores others.
        clips = [[fold.name, [_described(item) for item in fold.test]] for fold in folds]
        basis = json.dumps([clips, heads, settings], sort_keys=True)
        self.folder = folder / hashlib.blake2b(basis.encode(), digest_size=10).hexdigest()

    def keep(self, scores: FoldScores) -> None:
        """Write the scores of one head in one fold; raises an OSError where they cannot be written."""
        document = {
            "logits": scores.logits.tolist(),
            "windows": scores.windows.tolist(),
            "chosen": scores.chosen,
        }
        write_atomically(self._path(scores.fold, scores.head), json.dumps(document).encode())

    def done(self) -> list[FoldScores]:
        """The scores of the folds of which those of all heads are there."""
        return [
            self._read(fold, head)
            for name, fold in self._folds.items()
            if all(self._path(name, head).exists() for head in self._heads)
            for head in self._heads
        ]

    def _read(self, fold: FoldClips, head: str) -> FoldScores:
        document = json.loads(self._path(fold.name, head).read_bytes())
        logits, windows = torch.tensor(document["logits"]), torch.tensor(document["windows"])
        return FoldScores(fold.name, head, tuple(fold.test), logits, windows, document["chosen"])

    def _path(self, fold: str, head: str) -> Path:
        return self.folder / f"{list(self._folds).index(fold)}-{head}.json"  # a fold's name may be no file name


def _described(item: StoredClip) -> list[Any]:
    views = [(view.key.name(), view.length) for view in item.views]
    return [item.clip.name, item.clip.label, item.clip.group, item.key.name(), item.length, views]
