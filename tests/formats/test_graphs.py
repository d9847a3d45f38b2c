"""The formats of graphs (`.pt2`, `.onnx`, OpenVINO): each answers as the recognizer, and says what it is not.

A graph for each of the five parts, in data-flow order: resize, prepare, encoder, join, head.
"""

import hashlib
import importlib
import io
import json
import pickle
import re
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from activity.cli.arguments import megabytes
from activity.formats import compare, contract, load_recognizer, openvino
from activity.formats.contract import ModelFileError
from activity.formats.exported_program import export_program
from activity.formats.graphs import GraphsRecognizer
from activity.formats.int8 import quantised
from activity.formats.onnx import _sealed, export_onnx
from activity.formats.openvino import export_openvino
from activity.formats.parts import same_in
from activity.formats.save import save_model
from activity.models.encoder import create_encoder
from activity.models.recognizer import FORMAT_VERSION, LoadedRecognizer, Recognizer
from tests.recognizers import CLASS_NAMES, SMALL_ENCODER, lstm_head, random_frames, tiny_recognizer

EXPORT: dict[str, Callable[..., float]] = {
    ".pt2": export_program,
    ".onnx": export_onnx,
    ".openvino": export_openvino,
}
WINDOW, RGB_EVERY = 6, 4  # no whole number of looks

pytestmark = pytest.mark.filterwarnings("ignore")  # what the exporters' libraries say of each other


def recognizer_in(precision: str, *modalities: str, framing: str = "whole") -> Recognizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = create_encoder(
            name=SMALL_ENCODER,
            weights="none",
            modalities=list(modalities),
            framing=framing,
            rgb_every=RGB_EVERY,
            precision=precision,
        )
    head = lstm_head(encoder.feature_size, modality_weights=[1.0] * len(modalities), num_layers=2)
    recognizer = tiny_recognizer(encoder, head, sample_fps=7.5, window_frames=WINDOW)
    recognizer.temperature.fill_(1.7)
    return recognizer


@pytest.fixture(scope="module", params=["whole", "centre"])
def recognizer(request: pytest.FixtureRequest) -> Recognizer:
    return recognizer_in("float32", "rgb", "motion", framing=request.param)


@pytest.fixture(scope="module", params=list(EXPORT))
def path(request: pytest.FixtureRequest, recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / f"model{request.param}"
    assert EXPORT[request.param](recognizer, out, []) < 1e-4
    return out


def scores(recognizer: LoadedRecognizer, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
    with torch.inference_mode():
        return recognizer.classify(recognizer.encode(frames), lengths).softmax(1)


def pictures(batch: int, time: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    spots = 255 * torch.rand(batch * time, 3, 4, 5, generator=generator)
    grown = nn.functional.interpolate(spots, size=(height, width), mode="bilinear").round().byte()
    return grown.view(batch, time, 3, height, width)


def ramps(seed: int) -> Tensor:
    """A window of frames in which each colour grows brighter at its own pace, to the right and down, and falls at once.

    Even to a CNN of random weights they are others in other colours, upside down and mirrored, as spots are not.
    """
    frequency = torch.rand(WINDOW, 3, 2, 1, 1, generator=torch.Generator().manual_seed(seed)) / 12 + 1 / 50
    down, right = torch.arange(75.0).view(-1, 1), torch.arange(80.0)
    return (255 * ((frequency[:, :, 0] * down + frequency[:, :, 1] * right) % 1)).byte().unsqueeze(0)


@pytest.mark.slow
class TestAnswers:
    def test_it_says_what_inference_needs_to_know(self, path: Path) -> None:
        loaded = load_recognizer(path)
        assert isinstance(loaded, GraphsRecognizer)
        assert (loaded.class_names, loaded.modalities) == (CLASS_NAMES, ["rgb", "motion"])
        assert (loaded.sample_fps, loaded.window_frames, loaded.format_version) == (7.5, WINDOW, FORMAT_VERSION)
        assert loaded.rgb_every == RGB_EVERY

    @pytest.mark.parametrize("size", [(120, 160), (160, 120), (64, 50), (31, 47), (160, 160), (300, 170)])
    def test_scores_are_the_recognizers_for_frames_of_any_size(
        self, recognizer: Recognizer, path: Path, size: tuple[int, int]
    ) -> None:
        loaded, frames = load_recognizer(path), pictures(2, WINDOW, *size)
        torch.testing.assert_close(scores(loaded, frames), scores(recognizer, frames), rtol=0, atol=1e-4)

    def test_short_windows_pieces_and_single_rows(self, recognizer: Recognizer, path: Path) -> None:
        loaded, frames = load_recognizer(path), pictures(3, 4, 90, 120)
        lengths = torch.tensor([4, 1, 3])
        torch.testing.assert_close(
            scores(loaded, frames, lengths), scores(recognizer, frames, lengths), rtol=0, atol=1e-4
        )
        with torch.inference_mode():
            whole = loaded.encode(frames)
            first = loaded.encode(frames[:, :1])
            pieces = torch.cat([first, loaded.encode(frames[:, 1:], frames[:, 0], first)], dim=1)
            torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-4)
            mixed = [frames[0], pictures(1, 3, 40, 60)[0]]
            rows, before = torch.tensor([5, 1, 3, 6]), torch.tensor([4, 0, 2, 5])
            expected = recognizer.encode_rows(mixed, rows, before)
            found = loaded.encode_rows(mixed, rows, before)
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()

    def test_other_programs_get_the_same_from_the_files_own_graphs(self, recognizer: Recognizer, path: Path) -> None:
        loaded, noise = load_recognizer(path), torch.randint(0, 256, (2, 3, 3, 90, 120), dtype=torch.uint8)
        assert isinstance(loaded, GraphsRecognizer)
        for frames in (noise, pictures(2, 3, 300, 170)):
            found = scores(loaded.as_elsewhere(), frames)
            torch.testing.assert_close(found, scores(recognizer, frames), rtol=0, atol=1e-4)

    def test_in_inference_mode_and_out_of_it(self, recognizer: Recognizer, path: Path) -> None:
        loaded, frames = load_recognizer(path), pictures(1, 3, 90, 120)
        with torch.inference_mode():
            expected = loaded.encode(frames)
        torch.testing.assert_close(loaded.encode(frames), expected, rtol=0, atol=1e-6)
        with torch.inference_mode():
            torch.testing.assert_close(loaded.encode(frames), expected, rtol=0, atol=1e-6)

    def test_motion_alone_is_asked_of_the_files_own_graphs_too(self, path: Path) -> None:
        loaded = load_recognizer(path)
        assert isinstance(loaded, GraphsRecognizer)
        frames, asked = pictures(1, 3, 90, 120), list[int]()
        first = loaded.encode(frames[:, :1])
        prepare = loaded.graphs.prepare
        loaded.graphs = replace(loaded.graphs, prepare=lambda *given: asked.append(1) or prepare(*given))  # type: ignore[func-returns-value]
        elsewhere = loaded.as_elsewhere()
        found = elsewhere.encode(frames[:, 1:], frames[:, 0], first)
        assert asked
        torch.testing.assert_close(found, loaded.encode(frames[:, 1:], frames[:, 0], first), rtol=0, atol=1e-4)

    def test_what_is_no_frame_and_no_window_is_refused(self, path: Path) -> None:
        loaded = load_recognizer(path)
        with pytest.raises(ValueError, match="accepted: uint8 RGB"):
            loaded.encode(random_frames(1, 2).float())
        features = loaded.encode(pictures(1, 2, 40, 60))
        with pytest.raises(ValueError, match=f"T up to {WINDOW}"):
            loaded.classify(features.expand(1, 2, -1).repeat(1, WINDOW, 1))
        with pytest.raises(ValueError, match="1 to 2"):
            loaded.classify(features, torch.tensor([3]))
        rows = torch.tensor([0, 1])
        with pytest.raises(ValueError, match=r"previous_rows are 1; accepted: as many as rows \(2\)"):
            loaded.encode_rows([pictures(1, 2, 40, 60)[0]], rows, rows[:1])
        held = features[:, 0]
        for wrong in (held[:, :-1], held.double(), held.T):
            with pytest.raises(ValueError, match=r"held is .*; accepted: float32 \(1, \d+\), of the frame before"):
                loaded.encode(pictures(1, 2, 40, 60), None, wrong)
        with pytest.raises(ValueError, match=r"held is given for 4 frames; accepted: fewer than rgb_every \(4\)"):
            loaded.encode(pictures(1, 4, 40, 60), None, held)
        for other in (pictures(1, 1, 60, 40)[:, 0], pictures(1, 1, 40, 60)[0, 0].movedim(0, -1)):  # as many numbers
            with pytest.raises(ValueError, match=r"previous is uint8 .*; accepted: uint8 \(B, 3, H, W\)"):
                loaded.encode(pictures(1, 2, 40, 60), other)
        for wrong in (pictures(1, 2, 40, 60)[:, :0], pictures(1, 2, 40, 60)[:0]):
            with pytest.raises(ValueError, match="accepted: uint8 RGB"):
                loaded.encode(wrong)
        with pytest.raises(IndexError):
            loaded.encode_rows([pictures(1, 2, 40, 60)[0]], rows, rows - 1)


def test_what_cannot_be_run_is_not_written(recognizer: Recognizer, tmp_path: Path) -> None:
    def fails(*_: Tensor) -> Tensor:
        raise RuntimeError("no kernel\nfor this")

    loaded = load_recognizer(saved(recognizer, tmp_path / "model.pt2"))
    assert isinstance(loaded, GraphsRecognizer)
    loaded.graphs = replace(loaded.graphs, encode=fails)
    path, example = tmp_path / "out.pt2", compare.Window("red.mp4", pictures(1, 2, 40, 60))
    told = (
        r"out\.pt2 was not written: it cannot be run on red\.mp4 \(no kernel\)\. Export to \.ts, or train with another"
    )
    with pytest.raises(ModelFileError, match=told):
        compare.check_same_scores(path, recognizer, [loaded], [example])


def saved(recognizer: Recognizer, path: Path) -> Path:
    save_model(recognizer, path, [])
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", list(EXPORT))
def test_rgb_alone_and_a_recognizer_in_bfloat16(tmp_path: Path, suffix: str) -> None:
    recognizer, out = recognizer_in("bfloat16", "rgb"), tmp_path / f"model{suffix}"
    assert EXPORT[suffix](recognizer, out, [compare.Window("clip", pictures(1, WINDOW, 80, 100))]) < 1e-4
    loaded, frames = load_recognizer(out), pictures(2, WINDOW, 80, 100)
    torch.testing.assert_close(scores(loaded, frames), scores(recognizer, frames), rtol=0, atol=0.02)
    if suffix == ".onnx":
        exact = same_in(recognizer, "float32")
        torch.testing.assert_close(scores(loaded, frames), scores(exact, frames), rtol=0, atol=1e-4)


def test_float32_of_a_recognizer_in_bfloat16_computes_with_the_weights_that_it_has_rounded() -> None:
    recognizer, unrounded, frames = recognizer_in("bfloat16", "rgb"), recognizer_in("float32", "rgb"), ramps(0)
    with torch.inference_mode():
        expected, found, other = (
            model.encode(frames) for model in (recognizer, same_in(recognizer, "float32"), unrounded)
        )
    # A tenth of it with trained weights; in random ones the rounding of what lies between layers weighs more.
    assert (found - expected).norm() < 0.75 * (other - expected).norm()


@pytest.mark.slow
def test_a_bidirectional_head_reads_padded_windows_as_it_does_in_torch(tmp_path: Path) -> None:
    plain = recognizer_in("float32", "rgb")
    head = lstm_head(plain.encoder.feature_size, modality_weights=[1.0], num_layers=2, bidirectional=True)
    recognizer = tiny_recognizer(plain.encoder, head, sample_fps=7.5, window_frames=WINDOW)
    frames, lengths = pictures(3, WINDOW, 60, 80), torch.tensor([WINDOW, 1, 4])
    for suffix, export in EXPORT.items():
        export(recognizer, tmp_path / f"model{suffix}", [])
        found = scores(load_recognizer(tmp_path / f"model{suffix}"), frames, lengths)
        torch.testing.assert_close(found, scores(recognizer, frames, lengths), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".openvino"])
def test_a_cnn_in_int8_is_smaller_and_gives_about_the_same(tmp_path: Path, suffix: str) -> None:
    recognizer, exact, small = (
        recognizer_in("float32", "rgb", "motion"),
        tmp_path / f"a{suffix}",
        tmp_path / f"b{suffix}",
    )
    windows = [compare.Window(str(number), pictures(1, WINDOW, 60 + 10 * number, 80)) for number in range(4)]
    save_model(recognizer, exact, [])
    save_model(recognizer, small, [], calibration=windows)
    loaded = load_recognizer(small)
    assert getattr(loaded, "computes_in", None) == "int8"
    assert megabytes(small) < 0.6 * megabytes(exact)
    # The features of a window are nearer to its own in float32 than to those of any other one, be it the same in
    # other colours, upside down or mirrored: features of a CNN that saw something else are near to each other too.
    shown = [window.flip(changed) for window in map(ramps, range(3)) for changed in ([], [2], [3], [4])]
    with torch.inference_mode():
        found, expected = (torch.cat([model.encode(window) for window in shown]) for model in (loaded, recognizer))
    apart = torch.cdist(found.flatten(1), expected.flatten(1))
    own, nearest_other = apart.diagonal(), (apart + torch.diag(torch.full((len(shown),), torch.inf))).amin(dim=1)
    assert (own > 0).all()
    assert (nearest_other > 1.25 * own).all(), nearest_other / own
    first, *_, last = where_weights_come_from(small)
    assert (first in UNCHANGED, last in UNCHANGED) == (True, False), (first, last)
    assert 32 < largest_weight_of_int8(small) <= 64  # what AVX2 can add up without VNNI


def write_sealed(folder: Path, name: str, text: str) -> None:
    """Write a file of a folder of ours, and its digest."""
    (folder / name).write_text(text)
    digests = json.loads((folder / "digests.json").read_text())
    digests[name] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    (folder / "digests.json").write_text(json.dumps(digests))


def test_openvino_has_answered_before_threads_ask_it(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(recognizer, tmp_path / "a.openvino", [])
    answered: list[Tensor] = []
    run = openvino._Session.__call__

    def seen(session: openvino._Session, *inputs: Tensor) -> Tensor:
        answered.append(run(session, *inputs))
        return answered[-1]

    monkeypatch.setattr(openvino._Session, "__call__", seen)
    load_recognizer(tmp_path / "a.openvino")  # two threads that were the first would wait for each other for ever
    assert [tuple(logits.shape) for logits in answered] == [(1, len(CLASS_NAMES))]


def largest_weight_of_int8(path: Path) -> int:
    if path.suffix == ".onnx":
        graph = importlib.import_module("onnx").load(path).graph
        arrays = [importlib.import_module("onnx.numpy_helper").to_array(item) for item in graph.initializer]
    else:
        operations = importlib.import_module("openvino").Core().read_model(path / "encoder.xml").get_ordered_ops()
        arrays = [item.get_data() for item in operations if item.get_type_name() == "Constant"]
    weights = [array.astype(int) for array in arrays if array.dtype == np.int8 and array.ndim == 4]
    return max(int(np.abs(array).max()) for array in weights)


def test_what_openvino_says_when_it_is_first_asked_is_no_traceback(
    recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(recognizer, tmp_path / "a.openvino")

    def fails(*_: object) -> Tensor:
        raise RuntimeError("no memory\nat all")

    monkeypatch.setattr(openvino._Session, "__call__", fails)
    with pytest.raises(ModelFileError, match=r"a\.openvino cannot be run by OpenVINO .* \(no memory\)\. Update it"):
        load_recognizer(path)


UNCHANGED = ("", "Constant")  # weights that stand in the file as they are


def where_weights_come_from(path: Path) -> list[str]:
    """The kind of operation that gives each convolution of an exported CNN its weights, in data-flow order."""
    if path.suffix == ".onnx":
        graph = importlib.import_module("onnx").load(path).graph
        kinds = {output: node.op_type for node in graph.node for output in node.output}
        return [kinds.get(node.input[1], "") for node in graph.node if node.op_type == "Conv"]
    operations = importlib.import_module("openvino").Core().read_model(path / "encoder.xml").get_ordered_ops()
    convolutions = [item for item in operations if item.get_type_name() in ("Convolution", "GroupConvolution")]
    return [item.input_value(1).get_node().get_type_name() for item in convolutions]


def test_int8_needs_clips_and_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = recognizer_in("float32", "rgb")
    with pytest.raises(ModelFileError, match="no clip to calibrate int8 on"):
        quantised(tmp_path / "model.onnx", None, recognizer, [], as_input=lambda pixels: pixels, convolutions=[])
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ModelFileError, match=r"needs nncf, .* pip install 'activity\[int8\]'"):
        quantised(
            tmp_path / "model.onnx",
            None,
            recognizer,
            [pictures(1, 2, 40, 40)],
            as_input=lambda pixels: pixels,
            convolutions=[],
        )


@pytest.mark.slow
def test_an_onnx_file_is_one_graph_from_frames_to_logits_for_any_runtime(tmp_path: Path) -> None:
    runtime = importlib.import_module("onnxruntime")
    recognizer = recognizer_in("float32", "rgb", "motion")
    export_onnx(recognizer, tmp_path / "model.onnx", [])
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    said = json.loads(session.get_modelmeta().custom_metadata_map["activity"])
    assert said["class_names"] == CLASS_NAMES
    frames = pictures(2, WINDOW, 90, 120)
    rows = np.arange(2 * WINDOW)
    before = np.maximum(rows - 1, rows // WINDOW * WINDOW)  # at the start of a window nothing has moved
    lengths = np.array([WINDOW, 3])
    given = {"frames": frames.flatten(0, 1).numpy(), "rows": rows, "previous_rows": before, "lengths": lengths}
    (logits,) = session.run(["logits"], given)
    expected = scores(recognizer, frames, torch.from_numpy(lengths))
    torch.testing.assert_close(torch.from_numpy(logits).softmax(1), expected, rtol=0, atol=1e-4)

    export_onnx(recognizer, tmp_path / "parts.onnx", [], split=True)
    written = ["parts.encoder.onnx", "parts.head.onnx", "parts.onnx"]
    assert sorted(item.name for item in tmp_path.glob("parts*")) == written
    encoder, head = (runtime.InferenceSession(tmp_path / f"parts.{name}.onnx") for name in ("encoder", "head"))
    features = np.concatenate(
        [
            encoder.run(None, {"frames": given["frames"], "rows": rows[own], "previous_rows": before[own]})[0]
            for own in (slice(0, WINDOW), slice(WINDOW, None))  # "rgb" looks at the first row of each call
        ]
    )
    for count in (1, RGB_EVERY, RGB_EVERY + 1):  # it takes any number of rows, whole looks or not
        own = {"frames": given["frames"], "rows": rows[:count], "previous_rows": before[:count]}
        (some,) = encoder.run(None, own)
        single = recognizer.encode_rows([frames.flatten(0, 1)], *map(torch.from_numpy, (rows[:count], before[:count])))
        np.testing.assert_allclose(some, single.numpy(), atol=1e-4)
    (again,) = head.run(None, {"windows": features.reshape(2, WINDOW, -1), "lengths": lengths})
    np.testing.assert_allclose(again, logits, atol=1e-4)
    with pytest.raises(ModelFileError, match="one half of a model"):
        load_recognizer(tmp_path / "parts.head.onnx")


@pytest.mark.parametrize("suffix", list(EXPORT))
def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(compare, "LARGEST_DIFFERENCE", -1.0)
    out, example = tmp_path / f"model{suffix}", compare.Window("red.mp4", pictures(1, 2, 40, 60))
    told = rf"{re.escape(str(out))} was not written: its scores differ .* on red\.mp4, .* Export to \.ts, or train"
    with pytest.raises(ModelFileError, match=told):
        EXPORT[suffix](recognizer_in("float32", "rgb"), out, [example])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def good_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "good.pt2"
    export_program(recognizer_in("float32", "rgb"), path, [])
    return path


class TestRefused:
    def refusal(self, path: Path) -> str:
        with pytest.raises(ModelFileError) as caught:
            load_recognizer(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    def test_what_is_of_another_program(self, tmp_path: Path) -> None:
        onnx = importlib.import_module("onnx")
        helper = importlib.import_module("onnx.helper")
        number = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        other = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
        graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "neg", [number], [other])
        (tmp_path / "neg.onnx").write_bytes(helper.make_model(graph).SerializeToString())
        assert "is a model of another program" in self.refusal(tmp_path / "neg.onnx")

        class Neg(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return -x

        torch.export.save(torch.export.export(Neg(), (torch.ones(1),)), tmp_path / "neg.pt2")
        assert "is a model of another program" in self.refusal(tmp_path / "neg.pt2")
        (tmp_path / "neg.openvino").mkdir()
        assert "activity.json is missing" in self.refusal(tmp_path / "neg.openvino")
        (tmp_path / "empty.onnx").touch()
        assert "not a whole one" in self.refusal(tmp_path / "empty.onnx")
        (tmp_path / "text.onnx").write_text("no graph")
        assert "ONNX file" in self.refusal(tmp_path / "text.onnx") or "another program" in self.refusal(
            tmp_path / "text.onnx"
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("suffix", list(EXPORT))
    def test_a_newer_version_and_a_file_that_is_cut_off(
        self, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / f"model{suffix}"
        EXPORT[suffix](recognizer_in("float32", "rgb"), out, [])
        with monkeypatch.context() as patched:
            patched.setattr(contract, "FORMAT_VERSION", FORMAT_VERSION - 1)
            message = self.refusal(out)
        assert f"version {FORMAT_VERSION}; this program reads version {FORMAT_VERSION - 1}" in message
        broken = tmp_path / f"broken{suffix}"
        if out.is_dir():
            shutil.copytree(out, broken)
            (broken / "encoder.bin").write_bytes(b"")
            (broken / "encoder.xml").write_text("<net")
        else:
            broken.write_bytes(out.read_bytes()[: out.stat().st_size // 2])
        self.refusal(broken)

    @pytest.mark.parametrize(
        ("suffix", "module", "extra"), [(".onnx", "onnxscript", "onnx"), (".openvino", "openvino", "openvino")]
    )
    def test_without_its_library_the_extra_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, module: str, extra: str
    ) -> None:
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
        with pytest.raises(ModelFileError, match=rf"needs {module}, .* pip install 'activity\[{extra}\]'"):
            EXPORT[suffix](recognizer_in("float32", "rgb"), tmp_path / f"model{suffix}", [])

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "place", ["sample", "sample in capitals", "second sample", "weight", "constant", "object", "table", "more"]
    )
    def test_pickled_code_in_a_pt2_archive_is_never_executed(
        self, place: str, good_program: Path, tmp_path: Path
    ) -> None:
        class Trap:
            def __reduce__(self) -> object:
                return (Path.touch, (tmp_path / "executed",))

        stream = io.BytesIO()
        torch.save({"x": Trap()}, stream)
        pickled, bad = stream.getvalue(), tmp_path / "bad.pt2"
        sample, table = "archive/data/sample_inputs/head.pt", "archive/data/constants/head_constants_config.json"
        with zipfile.ZipFile(good_program) as source:
            members = [(name, source.read(name)) for name in source.namelist()]
        changed = dict(members)

        def told(name: str, path_name: str, *, use_pickle: bool) -> bytes:
            entries = json.loads(changed[name])
            next(iter(entries["config"].values())).update(path_name=path_name, use_pickle=use_pickle)
            return json.dumps(entries).encode()

        weights = "archive/data/weights/head_weights_config.json"
        traps: dict[str, dict[str, bytes]] = {
            "sample": {sample: pickled},
            "sample in capitals": {sample.replace("head.pt", "head.PT"): pickled},
            "second sample": {},
            "weight": {
                weights: told(weights, "weight_0", use_pickle=True),
                "archive/data/weights/weight_0": pickled,
            },
            "constant": {
                table: told(table, "opaque_obj_0", use_pickle=False),
                "archive/data/constants/opaque_obj_0": pickle.dumps(Trap()),
            },
            "object": {
                table: told(table, "custom_obj_0", use_pickle=False),
                "archive/data/constants/custom_obj_0": pickled,
            },
            "table": {table: told(table, "tensor_0", use_pickle=True), "archive/data/constants/tensor_0": pickled},
            "more": {"archive/data/weights/legacy.pt": pickled},
        }
        changed |= traps[place]
        if place == "sample in capitals":
            del changed[sample]
        with zipfile.ZipFile(bad, "w") as out, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there twice
            if place == "second sample":
                out.writestr(sample, pickled)
            for name, content in changed.items():
                out.writestr(name, content)
        assert "holds pickled code" in self.refusal(bad)
        assert not (tmp_path / "executed").exists()

    @pytest.mark.slow
    def test_a_pt2_archive_whose_tables_make_no_sense(self, good_program: Path, tmp_path: Path) -> None:
        bad = tmp_path / "bad.pt2"
        with zipfile.ZipFile(good_program) as source, zipfile.ZipFile(bad, "w") as out:
            for name in source.namelist():
                out.writestr(name, b"{" if name.endswith("_config.json") else source.read(name))
        assert "is damaged" in self.refusal(bad)

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"class_names": "run"}, "is damaged: what it says of itself"),
            ({"window_frames": None}, "is damaged: what it says of itself"),
            ({"sample_fps": 0}, "is damaged: what it says of itself"),
            ({"preprocess": {}}, "is damaged: what it says of itself"),
            ({"modalities": ["rgb", "sound"]}, "is damaged: what it says of itself"),
            ({"precision": "float16"}, "is damaged: what it says of itself"),
            ({"computes_in": "int4"}, "is damaged: what it says of itself"),
            ({"temperature": 0.0}, "is damaged: what it says of itself"),
            ({"more": 1}, "another version"),
        ],
    )
    def test_a_contract_that_makes_no_sense(self, tmp_path: Path, wrong: dict[str, object], says: str) -> None:
        folder = tmp_path / "model.openvino"
        folder.mkdir()
        said = asdict(contract.contract_of(recognizer_in("float32", "rgb"), computes_in="float32"))
        (folder / "activity.json").write_text(json.dumps(said | wrong))
        assert says in self.refusal(folder)

    @pytest.mark.slow
    def test_what_it_says_of_itself_does_not_fit_its_graphs(self, tmp_path: Path) -> None:
        folder, file = tmp_path / "model.openvino", tmp_path / "model.onnx"
        for path in (folder, file):
            save_model(recognizer_in("float32", "rgb"), path, [])
        said = json.loads((folder / "activity.json").read_text())
        text = json.dumps(said | {"class_names": [*CLASS_NAMES, "one more"]})
        (folder / "activity.json").write_text(text)
        assert "activity.json is not as it was written" in self.refusal(folder)
        write_sealed(folder, "activity.json", text)
        assert "names 4 classes, and gives a score to 3" in self.refusal(folder)
        write_sealed(folder, "activity.json", json.dumps(said))
        encoder = (folder / "encoder.xml").read_text()
        write_sealed(folder, "encoder.xml", encoder.replace('type="Convolution"', 'type="Turn"'))
        with pytest.raises(
            ModelFileError, match=r"model\.openvino cannot be run by OpenVINO .*\. Update it, or export"
        ):
            load_recognizer(folder).encode(pictures(1, 1, 40, 60))
        write_sealed(folder, "encoder.xml", encoder)
        onnx = importlib.import_module("onnx")
        model, whole, broken = onnx.load(file), file.read_bytes(), tmp_path / "broken.onnx"
        for place in range(len(whole) - 60, len(whole), 7):  # the digest, too
            broken.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            self.refusal(broken)
        next(item for item in model.metadata_props if item.key == "activity").value = text
        onnx.save(model, file)
        assert "its content is not as it was written" in self.refusal(file)
        file.write_bytes(_sealed(model))
        assert "names 4 classes, and gives a score to 3" in self.refusal(file)
        (folder / "head.xml").unlink()
        assert "no whole model folder: head.xml is missing" in self.refusal(folder)
        (folder / "digests.json").write_text("{}")
        assert "resize.xml is not as it was written" in self.refusal(folder)
        (folder / "digests.json").unlink()
        assert "digests.json is missing or damaged" in self.refusal(folder)

    @pytest.mark.slow
    @pytest.mark.parametrize("suffix", [".onnx", ".openvino"])
    def test_a_weight_that_is_another_one_is_noticed(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"model{suffix}"
        save_model(recognizer_in("float32", "rgb"), path, [])
        file = path / "encoder.bin" if path.is_dir() else path
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        assert "is not as it was written" in self.refusal(path)

    def test_a_folder_with_other_things_is_not_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("precious")
        with pytest.raises(ModelFileError, match=r"holds other things \(thesis\.txt\)"):
            export_openvino(recognizer_in("float32", "rgb"), tmp_path, [])
        assert (tmp_path / "thesis.txt").read_text() == "precious"

    def test_motion_without_a_frame_before(self) -> None:
        recognizer, frames = recognizer_in("float32", "rgb", "motion"), random_frames(1, 2)[0]
        with pytest.raises(ValueError, match="previous_rows is None"):
            recognizer.encode_rows([frames], torch.tensor([0]), None)
        with pytest.raises(ValueError, match="accepted: uint8 RGB"):
            recognizer.encode_rows([frames.float()], torch.tensor([0]), torch.tensor([0]))

    def test_another_device(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(b"")
        with pytest.raises(ModelFileError, match="runs on the CPU"):
            load_recognizer(tmp_path / "model.onnx", "cuda")
