"""What reports of several verbs say of the data set."""

import pytest
from omegaconf import OmegaConf

from activity.cli.reporting import data_facts, data_name


@pytest.mark.parametrize(
    ("root", "csv", "title", "fact"),
    [
        ("/data/gym", None, "gym", "/data/gym"),
        (None, "/data/clips.csv", "clips.csv", "/data/clips.csv"),
        ("/data/gym", ["/a.csv", "/b.csv"], "gym", "/a.csv, /b.csv, /data/gym"),
        (None, ["/data/a.csv", "/data/b.csv"], "a.csv, b.csv", "/data/a.csv, /data/b.csv"),
        (None, ["1.csv", "2.csv", "3.csv", "4.csv"], "1.csv, 2.csv, 3.csv and 1 more", "1.csv, 2.csv, 3.csv, 4.csv"),
    ],
)
def test_a_data_set_is_called_by_its_folder_or_its_tables(
    root: str | None, csv: str | list[str] | None, title: str, fact: str
) -> None:
    layout = {"_target_": "activity.data.layouts.read_kinetics"}
    config = OmegaConf.create({"data": {"root": root, "csv": csv, "layout": layout}})
    assert data_name(config) == title
    assert data_facts(config) == {"Data set": f"{fact} (layout: kinetics)"}
