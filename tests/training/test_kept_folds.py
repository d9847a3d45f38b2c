from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from activity.features.outcome import StoredClip
from activity.training.crossval import FoldClips, FoldScores
from activity.training.kept_folds import KeptFolds
from tests.training.stored import named_clip, named_key

HEADS = {"lstm": {"hidden_size": 8}, "mean_pool": {"dropout": 0.1}}
SETTINGS = {"seed": 0, "optim": {"lr": 0.1}}


def stored(name: str) -> StoredClip:
    return StoredClip(named_clip(name, "run"), named_key(name), 9)


def folds() -> list[FoldClips]:
    parts = {name: [stored(f"{name}-{number}.mp4") for number in range(2)] for name in ("a", "b/c")}
    return [FoldClips("a", parts["b/c"], parts["a"]), FoldClips("b/c", parts["a"], parts["b/c"])]


def scores(fold: FoldClips, head: str) -> FoldScores:
    windows = torch.tensor([0, 0, 1])
    return FoldScores(fold.name, head, tuple(fold.test), torch.randn(3, 2), windows, {"modality_weights": [1.0, 0.5]})


def test_a_fold_is_done_once_all_its_heads_are_and_comes_back_as_it_was(tmp_path: Path) -> None:
    own = folds()
    kept = KeptFolds(tmp_path, own, HEADS, SETTINGS)
    assert kept.done() == []
    given = [scores(own[1], head) for head in HEADS]
    for item in (scores(own[0], "lstm"), *given):
        kept.keep(item)
    found = KeptFolds(tmp_path, own, HEADS, SETTINGS).done()
    assert [(item.fold, item.head) for item in found] == [("b/c", "lstm"), ("b/c", "mean_pool")]
    for item, before in zip(found, given, strict=True):
        assert torch.equal(item.logits, before.logits)
        assert torch.equal(item.windows, before.windows)
        assert (item.clips, item.chosen) == (before.clips, before.chosen)


def test_those_of_other_clips_heads_or_settings_are_not_taken(tmp_path: Path) -> None:
    own = folds()
    for fold in own:
        for head in HEADS:
            KeptFolds(tmp_path, own, HEADS, SETTINGS).keep(scores(fold, head))

    def done(**changes: Any) -> int:
        return len(
            KeptFolds(**{"folder": tmp_path, "folds": own, "heads": HEADS, "settings": SETTINGS, **changes}).done()
        )

    assert done() == 4
    assert done(settings={**SETTINGS, "seed": 1}) == 0
    assert done(heads={**HEADS, "lstm": {"hidden_size": 9}}) == 0
    for change in ({"key": named_key("other")}, {"clip": replace(own[0].test[0].clip, label="walk")}):
        assert done(folds=[replace(own[0], test=[replace(own[0].test[0], **change), own[0].test[1]]), own[1]]) == 0
