import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from activity.data.clips import Clip
from activity.evaluation.predictions import ScoredClips
from activity.evaluation.report import (
    Fold,
    LearningCurves,
    Report,
    calibration_of,
    frame_strip,
    head_report,
    render_report,
    split_counts,
    worst_mistakes,
    write_report,
)
from activity.evaluation.statistics import paired_test
from tests.datasets import colour_frames, write_colour_video
from tests.videos import write_video

EVIL = "<img src=x onerror=alert(1)>\"'&"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Reads a page strictly: each element is closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def scored(predicted: list[int], labels: list[int], names: list[str], path: Path = Path("/nowhere.avi")) -> ScoredClips:
    """Clips whose predicted class has 0.6 and a little more for each clip, the others what is left."""
    scores = torch.full((len(labels), len(names)), 0.0)
    for row, best in enumerate(predicted):
        sure = 0.6 + 0.3 * row / len(labels)
        scores[row] = (1 - sure) / (len(names) - 1)
        scores[row, best] = sure
    clips = tuple(
        Clip(path=path, relative_path=f"{row} {EVIL}.avi", label=names[label], group=f"g{row // 2}")
        for row, label in enumerate(labels)
    )
    return ScoredClips(clips, scores, torch.tensor(labels), tuple(names))


def report_of(clips: ScoredClips, other: ScoredClips | None = None, **further: object) -> Report:
    heads = [head_report("lstm", clips)] + ([head_report("mean_pool", other)] if other else [])
    return Report(
        **{  # type: ignore[arg-type]
            "title": "Activities",
            "made": "today",
            "tested_on": "that training had never seen",
            "heads": tuple(heads),
            "paired": paired_test(clips.correct, other.correct) if other else None,
            "calibration": calibration_of(clips, unscaled_scores=clips.scores, temperature=0.7),
            "mistakes": worst_mistakes(clips),
            **further,
        }
    )


def test_says_what_was_measured() -> None:
    clips = scored([0, 0, 1, 1, 0], [0, 0, 1, 1, 1], ["run", "walk"])
    other = scored([0, 0, 0, 0, 0], [0, 0, 1, 1, 1], ["run", "walk"])
    folds = (Fold("ann", 3, {"lstm": 1.0, "mean_pool": 2 / 3}),)
    curves = LearningCurves(((0, 1.0), (1, 0.5)), ((0, 0.9), (1, 0.8)), ((0, 0.5), (1, 0.75)), 1)
    report = report_of(
        clips,
        other,
        folds=folds,
        curves=curves,
        splits=split_counts({"train": clips.clips, "val": ()}),
        facts={"Encoder": "efficientnet_lite0"},
        failed=(("broken.avi", "it cannot be decoded"),),
        warnings=("Some were seen.",),
    )
    text = Page(render_report(report)).text
    for words in (
        "Of 5 clips that training had never seen, 4 were recognised.",
        "80.0 %",
        "right where mean_pool was wrong 2 times, and the other way round 0 times",
        "p = 0.50",
        "walk run 1 33 %",  # most often confused
        "walk , taken for run with a score of 84 %",
        "ann 3 100 % 66.7 %",
        "temperature of 0.70",
        "number 2",  # the epoch that was kept
        "train 5 3",
        "efficientnet_lite0",
        "broken.avi it cannot be decoded",
        "Some were seen.",
    ):
        assert words in text, words


@pytest.mark.parametrize("classes", [2, 12, 13, 101])
def test_is_well_formed_and_needs_no_network_whatever_names_the_data_set_has(classes: int, tmp_path: Path) -> None:
    names = [f"{EVIL}{number}" for number in range(classes)]
    labels = list(range(classes)) * 2
    clips = scored([(label + (row % 7 == 0)) % classes for row, label in enumerate(labels)], labels, names)
    other = scored([0] * len(labels), labels, names)
    further = {
        "title": EVIL,
        "made": EVIL,
        "tested_on": EVIL,
        "folds": (Fold(EVIL, 2, {"lstm": 0.5}),),
        "facts": {EVIL: EVIL},
        "failed": ((EVIL, EVIL),),
        "warnings": (EVIL,),
    }
    path = tmp_path / "report.html"
    write_report(path, report_of(clips, other, **further))
    source = path.read_text("utf-8")
    page = Page(source)
    assert page.count("script") == page.count("img") == page.count("link") == 0  # no strip: the file does not exist
    assert EVIL in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not re.search(r"(https?:)?//[a-z]", source)
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert len(source) < 2_000_000


def test_without_a_mistake_it_says_so_and_what_so_many_clips_allow() -> None:
    text = Page(render_report(report_of(scored([0, 1, 1], [0, 1, 1], ["run", "walk"])))).text
    assert "No clip was taken for another class." in text
    assert "With no mistake to count, the true share may still lie between 44 % and 100 % (95 %, Wilson)" in text
    assert "worst mistakes" not in text


def test_with_nothing_but_mistakes_it_says_so_and_what_so_many_clips_allow() -> None:
    text = Page(render_report(report_of(scored([1, 0, 0], [0, 1, 1], ["run", "walk"])))).text
    assert "With no clip recognised to count, the true share may still lie between 0 % and 56 % (95 %, Wilson)" in text
    assert "few mistakes" not in text


def test_without_test_clips_there_is_still_a_page() -> None:
    report = Report(title="Activities", made="today", tested_on="", facts={"Encoder": "resnet18"})
    text = Page(render_report(report)).text
    assert "Nothing was measured" in text
    assert "resnet18" in text
    assert "The figures" not in text


def test_without_validation_there_is_no_chart_of_it() -> None:
    curves = LearningCurves(((0, 1.0),), (), (), None)
    report = report_of(scored([0, 1], [0, 1], ["run", "walk"]), curves=curves)
    text = Page(render_report(report)).text
    assert "How it learned" in text
    assert "Accuracy on the validation clips" not in text


def test_a_class_without_clips_and_one_never_said() -> None:
    text = Page(render_report(report_of(scored([0, 0], [0, 1], ["run", "walk", "jump"])))).text
    assert "jump no clips never said – 0" in text


class TestMistakes:
    def test_the_surest_come_first_and_only_so_many(self) -> None:
        clips = scored([1, 1, 0, 1, 1], [0, 1, 0, 0, 0], ["run", "walk"])
        mistakes = worst_mistakes(clips, limit=2)
        assert [mistake.clip[0] for mistake in mistakes] == ["4", "3"]
        assert (mistakes[0].label, mistakes[0].predicted) == ("run", "walk")
        assert mistakes[0].score == pytest.approx(0.84)
        assert mistakes[0].label_score == pytest.approx(0.16)

    def test_their_frames_are_in_the_page(self, tmp_path: Path) -> None:
        path = write_colour_video(tmp_path / "clip.mp4", "red", frames=30)
        page = Page(render_report(report_of(scored([1], [0], ["run", "walk"], path))))
        (image,) = (attributes for tag, attributes in page.tags if tag == "img")
        assert (image["src"] or "").startswith("data:image/jpeg;base64,")
        assert EVIL in (image["alt"] or "")


class TestStrip:
    def clip(self, path: Path, **span: float) -> Clip:
        return Clip(path=path, relative_path=path.name, label="red", group="g", **span)  # type: ignore[arg-type]

    def widths(self, strip: bytes | None) -> tuple[int, int]:
        assert strip is not None
        height, width, _ = cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR).shape
        return height, width

    def test_six_frames_side_by_side(self, tmp_path: Path) -> None:
        path = write_colour_video(tmp_path / "clip.mp4", "red", frames=200)
        assert self.widths(frame_strip(self.clip(path))) == (96, 6 * 128 + 5 * 3)

    def test_pixels_are_square(self, tmp_path: Path) -> None:
        frames = colour_frames("red", 200)
        path = write_video(tmp_path / "clip.mp4", frames, pixel_aspect=Fraction(3, 2))  # 64 x 48 shown as 96 x 48
        assert self.widths(frame_strip(self.clip(path))) == (96, 6 * 192 + 5 * 3)

    def test_a_short_span_has_fewer(self, tmp_path: Path) -> None:
        path = write_colour_video(tmp_path / "clip.mp4", "red", frames=30)
        clip = self.clip(path, start_seconds=0.3, end_seconds=0.5)
        assert self.widths(frame_strip(clip, height=48)) == (48, 2 * 64 + 3)

    def test_colours_are_those_of_the_video(self, tmp_path: Path) -> None:
        strip = frame_strip(self.clip(write_colour_video(tmp_path / "clip.mp4", "red")))
        assert strip is not None
        blue, _, red = cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR).reshape(-1, 3).mean(axis=0)
        assert red > blue + 10

    def test_what_cannot_be_read_has_none(self, tmp_path: Path) -> None:
        (tmp_path / "broken.avi").write_bytes(b"no video")
        for name in ("broken.avi", "missing.avi"):
            assert frame_strip(self.clip(tmp_path / name)) is None
        path = write_colour_video(tmp_path / "clip.mp4", "red")
        assert frame_strip(self.clip(path, start_seconds=100)) is None
