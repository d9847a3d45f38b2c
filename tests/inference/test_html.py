from xml.etree import ElementTree

import pytest

from activity.inference.html import timeline_html
from activity.inference.palette import colour_of
from tests.inference.timelines import segment

NAMES = ["run", "walk"]


def page(*segments: object, duration: float = 10.0, names: list[str] = NAMES, source: str = "/v/clip.mp4") -> str:
    return timeline_html(source=source, duration_seconds=duration, class_names=names, segments=segments)  # type: ignore[arg-type]


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def rows(text: str) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in tree(text).iter("tr")]


def test_the_table_says_label_times_and_score() -> None:
    found = rows(page(segment("run", 1.0, 2.5, 0.87), segment("walk", 2.5, 4000.0, 1.0), duration=4000.0))
    assert found == [
        ["label", "start", "end", "score"],
        ["run", "00:01.0", "00:02.5", "87%"],
        ["walk", "00:02.5", "1:06:40.0", "100%"],
    ]


def test_the_bar_shows_segments_along_the_time_in_the_colours_of_the_plots() -> None:
    bars = list(tree(page(segment("run", 1.0, 2.5), segment("walk", 5.0, 10.0))).iter("rect"))
    assert [(bar.get("x"), bar.get("width")) for bar in bars] == [("100.0", "150.0"), ("500.0", "500.0")]
    assert [bar.get("fill") for bar in bars] == [colour_of(name, NAMES) for name in NAMES]
    assert bars[0].findtext("title") == "run, 00:01.0 – 00:02.5"


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", '"><img src=x>', "a & b", "&lt;", "'quoted'"])
def test_markup_in_labels_and_names_stays_text(label: str) -> None:
    text = page(segment(label, 1, 2), names=[label], source=f"/v/{label}")
    # Parsed, there is nothing but what we have put there.
    ours = {"div", "b", "span", "svg", "rect", "title", "table", "thead", "tbody", "tr", "th", "td"}
    assert {element.tag for element in tree(text).iter()} <= ours
    assert rows(text)[1][0] == label
    assert "<script" not in text
    assert "<img" not in text


def test_formulas_are_left_alone_by_notebooks() -> None:
    assert tree(page(segment("$x$", 1, 2))).get("class") == "tex2jax_ignore mathjax_ignore"


def test_it_is_self_contained_and_of_no_ground_of_its_own() -> None:
    text = page(segment("run", 1, 2))
    for outside in ("http", "url(", "<style", "<link", "<script", "src="):
        assert outside not in text
    assert "color:#" not in text.replace("background:#", "")  # text has the notebook's colour, in the light and dark


def test_very_many_segments_stay_small_and_what_is_left_out_is_said() -> None:
    text = page(*[segment("run", number, number + 0.5) for number in range(3000)], duration=3000.0)
    assert len(text) < 150_000
    assert len(rows(text)) == 51
    assert "and 2950 more" in text


def test_nothing_found_is_said() -> None:
    assert "no segments" in page()
    assert rows(page()) == []
    assert "no segments" in page(duration=0.0)
    page(segment("half \ud83d", 1, 2)).encode()
