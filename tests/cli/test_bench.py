"""`activity bench`: what it measures is there, adds up, and is all that standard output holds."""

import json
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from activity.cli import bench_encoder, bench_figures
from activity.cli.arguments import UsageError
from activity.cli.bench_figures import Figure, machine
from activity.cli.bench_memory import peak_gigabytes
from activity.cli.bench_peers import OURS, PeerSpeed, peer_figures
from activity.formats.contract import ModelFileError
from activity.formats.graphs import GraphsRecognizer
from activity.models.recognizer import Recognizer
from tests.cli.command import activity
from tests.datasets import TINY, write_colour_folder
from tests.recognizers import small_encoder, tiny_recognizer

SETTINGS = [
    argument
    for item in TINY
    if item.split("=")[0].split(".")[0] in ("encoder", "modalities", "sampling")
    for argument in ("--override", item)
]

RUNTIMES = {"encoder": ("onnxruntime", "openvino"), "predict": (), "peers": ("openvino", "nncf")}
BARE = {".ts": "torch, bare", ".onnx": ".onnx, bare", ".openvino": ".openvino, bare"}

PEER_BOUNDS = {
    "activity by r3d_18, end to end": ("at least", 3.0),
    "activity by r3d_18, dense": ("at least", 8.0),
    "activity by videomae_base, end to end": ("at least", 8.0),
    "activity by x3d_s, dense": ("at least", 2.5),
    "activity (openvino) by r3d_18, dense": ("at least", 15.0),
    "activity (openvino) by x3d_s, dense": ("at least", 5.0),
    "activity (openvino, int8) by r3d_18, dense": ("at least", 15.0),
    "activity (openvino, int8) by x3d_s, dense": ("at least", 5.0),
}


@pytest.mark.parametrize(
    ("value", "at", "bound", "holds"),
    [
        (0.9, "at least", 0.85, True),
        (0.8, "at least", 0.85, False),
        (1.2, "at most", 1.25, True),
        (1.3, "at most", 1.25, False),
        (1.3, "", None, None),
    ],
)
def test_a_figure_knows_whether_it_keeps_its_bound(value: float, at: str, bound: float | None, holds: bool) -> None:
    assert Figure("a figure", value, "s", at, bound).holds is holds


@pytest.mark.parametrize(
    ("run_seconds", "median", "runs"),
    [
        (1.0, 3.0, 3),  # of 2, 3 and 4, after one that warms up
        (6.0, 12.0, 3),  # of 6, 12 and 18: there is no time for four
        (15.0, 22.5, 2),
        (30.0, 30.0, 1),
    ],
)
def test_what_takes_long_is_measured_in_as_many_runs_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, run_seconds: float, median: float, runs: int
) -> None:
    now = [0.0]

    def measure() -> list[float]:
        now[0] += run_seconds
        return [now[0]]

    monkeypatch.setattr(bench_figures, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert bench_figures.medians(measure, quick=False, most_seconds=20.0) == ([median], runs)


def bounds(found: dict[str, Any]) -> dict[str, tuple[str, float]]:
    return {figure["name"]: (figure["at"], figure["bound"]) for figure in found["figures"] if figure["bound"]}


def versions(*packages: str) -> set[tuple[str, str]]:
    return {(name, version(name)) for name in ("torch", "torchvision", "timm", "opencv-python", *packages)}


def test_a_machine_is_described_with_the_packages_that_are_measured_where_they_are_installed() -> None:
    found = machine("openvino", "not_installed_anywhere").items()
    assert versions("openvino") <= found
    assert {name for name, _ in found} == {"CPU", "cores", "python", *(name for name, _ in versions("openvino"))}


@pytest.mark.slow
def test_extraction_training_and_memory_are_measured_and_only_the_figures_go_to_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_colour_folder(tmp_path / "videos", actors=5, frames=24)
    rows = [f"{path.relative_to(root)},{path.parent.name},0.0,0.45" for path in sorted(root.rglob("*.*"))]
    (root / "clips.csv").write_text("\n".join(["path,label,start,end", *rows]))
    outcome = activity("bench", "extract", root / "clips.csv", "--quick", "--limit", 8, "--format", "json", *SETTINGS)
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    value = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert (found["clips"], found["machine"]["cores"] >= 1) == (8, True)
    assert versions("pytorch-lightning") <= found["machine"].items()
    assert found["frames"] == 8 * 5  # 0.45 of 0.96 seconds, sampled at 10 a second
    bound = value["bound: decoding and encoding, by the cores"]
    assert bound == pytest.approx((value["decoding alone"] + value["encoding alone"]) / value["cores"])
    assert value["efficiency: bound by extraction"] == pytest.approx(bound / value["extraction"])
    assert value["epoch by head alone"] == pytest.approx(
        value["an epoch from stored features"] / value["the head alone on the same batches"]
    )
    assert value["a second train, to its first epoch"] > 0
    # A process with torch in it takes more than a tenth of a gigabyte: kilobytes were not taken for bytes.
    peaks = [value[name] for name in value if name.startswith("peak memory")]
    assert len(peaks) == 3
    assert all(0.1 < peak < 10 for peak in peaks)
    assert bounds(found) == {
        "efficiency: bound by extraction": ("at least", 0.85),
        "epoch by head alone": ("at most", 1.25),
        "a second train, to its first epoch": ("at most", 5.0),
        "peak memory of extract, 1 minutes of video": ("at most", 2.0),
        "peak memory of extract, 100 short clips": ("at most", 2.0),
        "peak memory of extract, large frames (2880 x 2160)": ("at most", 2.0),
    }
    assert sorted(path.name for path in Path().iterdir()) == ["videos"]


@pytest.mark.parametrize(
    ("override", "said"),
    [("data=csv", "as PATH"), ("optim.batch_size=8", "optim"), ("features.batch_frames=0", "batch_frames")],
)
def test_what_a_measured_command_would_refuse_is_refused_at_once(override: str, said: str) -> None:
    outcome = activity("bench", "extract", "--override", override)
    assert outcome.code == 2
    assert len(outcome.messages) == 1, outcome.err
    assert said in outcome.messages[0]


def test_a_data_set_that_is_not_there_is_said(tmp_path: Path) -> None:
    outcome = activity("bench", "extract", tmp_path / "nothing")
    assert outcome.code != 0
    assert len(outcome.messages) == 1, outcome.err
    assert "nothing" in outcome.messages[0]
    assert outcome.out == ""


def test_the_memory_of_a_program_is_its_own_and_not_that_of_who_starts_it(exported: Path, tmp_path: Path) -> None:
    held = bytearray(1_500_000_000)
    held[::4096] = b"x" * len(held[::4096])
    peak = peak_gigabytes(["inspect", str(exported)])
    assert 0.05 < peak < 1.4
    with pytest.raises(UsageError, match="activity inspect could not be measured: it ended with 2"):
        peak_gigabytes(["inspect", str(tmp_path / "nothing.ts")])


@pytest.mark.slow
def test_streams_and_long_videos_are_measured(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = activity("bench", "live", "--quick", "--model", exported, "--format", "json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert versions() <= found["machine"].items()
    value = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert value["live: all else by encoding"] == pytest.approx(
        value["live: all else for a sampled frame"] / value["live: encoding a sampled frame"]
    )
    assert value["overlapping by side by side"] == pytest.approx(
        value["timeline, a window at each sampled frame"] / value["timeline, windows side by side"]
    )
    assert value["predict: bound, both by the cores"] > 0
    assert all(0.1 < value[name] < 10 for name in value if name.startswith("peak memory"))
    assert bounds(found) == {
        "live: all else by encoding": ("at most", 0.1),
        "overlapping by side by side": ("at most", 1.15),
        "predict: bound by time": ("at least", 0.85),
        "the longer by the shorter": ("at most", 1.05),
    }
    assert list(Path().iterdir()) == []


def test_the_model_and_the_videos_are_looked_at_before_the_work(exported: Path, tmp_path: Path) -> None:
    outcome = activity("bench", "live", "--model", tmp_path / "nothing.ts")
    assert (outcome.code, len(outcome.messages)) == (2, 1), outcome.err
    assert "nothing.ts" in outcome.err
    outcome = activity("bench", "live", tmp_path, "--model", exported)
    assert (outcome.code, len(outcome.messages)) == (2, 1), outcome.err
    assert f"{tmp_path} holds no videos" in outcome.err


@pytest.mark.parametrize(("flag", "what"), [("--limit", "live"), ("--model", "extract")])
def test_a_flag_that_plays_no_role_is_refused(flag: str, what: str) -> None:
    outcome = activity("bench", what, flag, "5")
    assert outcome.code == 2
    assert f"{flag} plays no role in activity bench {what}" in outcome.err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the exporters' libraries say of each other
@pytest.mark.parametrize("what", ["encoder", "predict", "peers"])
def test_the_other_benchmarks_run_and_print_figures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    chart = ["--chart", "peers.svg"] if what == "peers" else []
    outcome = activity("bench", what, "--quick", "--format", "json", *chart, *SETTINGS)
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    value = {figure["name"]: figure["value"] for figure in found["figures"]}
    assert all(number > 0 for number in value.values())
    assert versions(*RUNTIMES[what]) <= found["machine"].items()
    if what == "encoder":
        ratio = value["the default by what is mostly written"]
        assert ratio == pytest.approx(value[".ts, in activity"] / value["as it is mostly written"])
        best = max((".ts", ".onnx", ".openvino"), key=lambda suffix: value[BARE[suffix]])
        own = value[f"{best}, in activity"] / value[BARE[best]]
        assert value[f"the best ({best}), in activity by bare"] == pytest.approx(own)
        assert bounds(found) == {
            "the default by what is mostly written": ("at least", 2.0),
            "OpenVINO by the same": ("at least", 4.0),
            f"the best ({best}), in activity by bare": ("at least", 0.95),
        }
    elif what == "predict":
        whole, part = value["activity predict model.ts clip.mp4"], value["and loads the weights"]
        assert value["predict by torch, cv2 and the weights"] == pytest.approx(whole / part)
        assert bounds(found) == {"predict by torch, cv2 and the weights": ("at most", 1.3)}
    else:
        speeds = {speed["name"]: speed for speed in found["speeds"]}
        assert {"activity", "r3d_18"} <= set(speeds)
        ratio = speeds["r3d_18"]["dense_seconds"] / speeds["activity"]["dense_seconds"]
        assert value["activity by r3d_18, dense"] == pytest.approx(ratio)
        assert bounds(found) == {name: bound for name, bound in PEER_BOUNDS.items() if "r3d_18" in name}
        assert speeds["r3d_18"]["gigamacs_a_second"] == pytest.approx(8.3 * 15 / 16 * 5, rel=0.2)
        assert "<svg" in Path("peers.svg").read_text()
        assert list(speeds)[:3] == ["activity", "activity (openvino)", "activity (openvino, int8)"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_express_the_encoder_is_left_out_and_what_is_slower_than_its_runtime_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, encode_rows, said = bench_encoder.save_model, GraphsRecognizer.encode_rows, list[str]()

    def save_onnx(recognizer: Recognizer, path: Path, examples: list[Tensor]) -> float:
        if path.suffix != ".onnx":
            raise ModelFileError(f"{path.suffix} cannot express it")
        return save(recognizer, path, examples)

    def encode_slowly(self: GraphsRecognizer, *arguments: Any) -> Tensor:
        time.sleep(0.05)
        return encode_rows(self, *arguments)

    monkeypatch.setattr(bench_encoder, "save_model", save_onnx)
    monkeypatch.setattr(GraphsRecognizer, "encode_rows", encode_slowly)
    recognizer = tiny_recognizer(small_encoder("rgb", "motion", rgb_every=4))
    found = bench_encoder.bench_encoder(tmp_path, recognizer, quick=True, say=said.append)
    assert {figure.name: figure.holds for figure in found} == {
        "as it is mostly written": None,
        "torch, bare": None,
        ".onnx, bare": None,
        ".onnx, in activity": None,
        "the best (.onnx), in activity by bare": False,
    }
    assert [text for text in said if text.startswith("warning")] == [
        "warning: .ts cannot express it",
        "warning: .openvino cannot express it",
    ]


def test_each_peer_has_its_bounds_also_where_its_package_is_not_installed() -> None:
    names = [*(name for name, _, _ in OURS), "r3d_18", "s3d", "x3d_s", "videomae_small", "videomae_base"]
    speeds = [PeerSpeed(name, 1.0, 1.0, 1.0, "", 3) for name in names]
    assert bounds({"figures": [asdict(figure) for figure in peer_figures(speeds)]}) == PEER_BOUNDS


def test_what_plays_no_role_in_a_benchmark_is_refused() -> None:
    for what, flag, value in (
        ("peers", "--model", "model.ts"),
        ("encoder", "--chart", "a.png"),
        ("predict", "--limit", 3),
    ):
        outcome = activity("bench", what, flag, value)
        assert (outcome.code, f"{flag} plays no role in activity bench {what}" in outcome.messages[0]) == (2, True)


@pytest.mark.parametrize(
    ("chart", "says"), [("chart.txt", "ends in .png or .svg"), ("none/chart.png", "no folder none")]
)
def test_a_chart_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chart: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = activity("bench", "peers", "--chart", chart)
    assert (outcome.code, says in outcome.messages[0]) == (2, True)
    assert list(tmp_path.iterdir()) == []
