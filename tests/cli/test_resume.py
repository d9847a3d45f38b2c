"""Verbs on many files: interrupted and resumed, nothing overwritten, progress in a terminal."""

import json
import os
import pty
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from activity.cli import predict
from tests.cli.command import Outcome, activity, start
from tests.datasets import write_colour_video

NAMES = ["1.mp4", "2.mp4", "3.mp4", "ünï 走る.mp4"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for seed, name in enumerate(NAMES):
        write_colour_video(folder / "plain.mp4", "red", frames=6 + seed, seed=seed).rename(folder / name)
    return folder


@pytest.fixture
def folder(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(videos, tmp_path / "videos"))


@pytest.fixture
def run(exported: Path) -> Callable[..., Outcome]:
    """Predict to results.jsonl."""

    def run(*arguments: object) -> Outcome:
        return activity("predict", exported, "--output", "results.jsonl", *arguments)

    return run


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are computed, one after the other."""
    sources: list[str] = []
    original = predict.predictions_as_completed

    def spy(recognizer: object, wanted: list[str], **options: object) -> Iterator[object]:
        sources.extend(wanted)
        return original(recognizer, wanted, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(predict, "predictions_as_completed", spy)
    return sources


def results(path: str = "results.jsonl") -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def names(path: str = "results.jsonl") -> list[str]:
    return [Path(str(result["source"])).name for result in results(path)]


class TestAnOutputThatIsThere:
    def test_is_kept_and_both_ways_on_are_said(self, folder: Path, run: Callable[..., Outcome]) -> None:
        Path("results.jsonl").write_text("precious")
        outcome = run(folder)
        assert (outcome.code, Path("results.jsonl").read_text()) == (2, "precious")
        assert "--resume" in outcome.err
        assert "--force" in outcome.err

    def test_of_another_format_is_not_resumed(self, folder: Path, exported: Path) -> None:
        Path("results.csv").write_text("precious")
        outcome = activity("predict", exported, folder, "--output", "results.csv")
        assert (outcome.code, Path("results.csv").read_text()) == (2, "precious")
        assert "--force" in outcome.err
        assert "--resume" not in outcome.err

    def test_is_replaced_by_force(self, folder: Path, run: Callable[..., Outcome]) -> None:
        Path("results.jsonl").write_text("longer than anything\n" * 1000)
        assert run(folder, "--force").code == 0
        assert names() == NAMES

    def test_an_empty_file_or_a_device_holds_nothing(self, folder: Path, exported: Path) -> None:
        Path("results.jsonl").touch()
        assert activity("predict", exported, folder, "--output", "results.jsonl").code == 0
        assert activity("predict", exported, folder, "--output", os.devnull).code == 0


class TestFormat:
    def test_is_that_of_the_suffix_where_none_is_given(self, folder: Path, exported: Path) -> None:
        for name, begin in (("a.jsonl", "{"), ("a.CSV", "source,"), ("a.txt", "label "), ("a", "label ")):
            assert activity("predict", exported, folder, "--output", name).code == 0
            assert Path(name).read_text().startswith(begin)
        assert activity("predict", exported, folder, "--output", "b.jsonl", "--format", "csv").code == 0
        assert Path("b.jsonl").read_text().startswith("source,")


class TestResume:
    @pytest.mark.parametrize("torn", [0, 1, 30, None])
    def test_what_is_done_is_kept_and_the_rest_appended(
        self, folder: Path, run: Callable[..., Outcome], computed: list[str], torn: int | None
    ) -> None:
        assert run(folder).code == 0
        whole = Path("results.jsonl").read_bytes()
        lines = whole.splitlines(keepends=True)
        # Killed while the third line was written, perhaps all of it but its end.
        Path("results.jsonl").write_bytes(lines[0] + lines[1] + lines[2][: len(lines[2]) - 1 if torn is None else torn])
        computed.clear()
        outcome = run(folder, "--resume")
        assert outcome.code == 0, outcome.err
        assert [Path(source).name for source in computed] == NAMES[2:]
        assert Path("results.jsonl").read_bytes() == whole
        assert "2 of 4 sources are in results.jsonl" in outcome.err

    def test_where_there_is_no_file_yet_all_is_computed(self, folder: Path, run: Callable[..., Outcome]) -> None:
        outcome = run(folder, "--resume")
        assert (outcome.code, outcome.err) == (0, "")
        assert names() == NAMES

    def test_where_all_is_done_nothing_is_computed(
        self, folder: Path, run: Callable[..., Outcome], computed: list[str]
    ) -> None:
        run(folder)
        before = Path("results.jsonl").read_bytes()
        computed.clear()
        assert run(folder, "--resume").code == 0
        assert computed == []
        assert Path("results.jsonl").read_bytes() == before

    def test_failed_sources_are_tried_again_and_stand_in_their_places(
        self, folder: Path, run: Callable[..., Outcome], computed: list[str]
    ) -> None:
        good = (folder / "2.mp4").read_bytes()
        (folder / "2.mp4").write_text("not yet copied")
        assert run(folder, "gone.mp4").code == 1
        assert ["error" in result for result in results()] == [False, True, False, False, True]
        (folder / "2.mp4").write_bytes(good)
        computed.clear()
        outcome = run(folder, "gone.mp4", "--resume")
        assert outcome.code == 1
        assert [Path(source).name for source in computed] == ["2.mp4", "gone.mp4"]
        assert names() == [*NAMES, "gone.mp4"]
        assert ["error" in result for result in results()] == [False, False, False, False, True]
        assert outcome.messages[-1] == "activity predict: 1 of 2 sources failed"

    def test_lines_of_other_sources_stay(self, folder: Path, run: Callable[..., Outcome]) -> None:
        run(folder / "3.mp4", "gone.mp4")
        assert run(folder / "1.mp4", folder / "2.mp4", "--resume").code == 0
        assert names() == ["3.mp4", "gone.mp4", "1.mp4", "2.mp4"]

    def test_a_source_that_is_given_twice_has_two_lines(
        self, folder: Path, run: Callable[..., Outcome], computed: list[str]
    ) -> None:
        run(folder / "1.mp4")
        computed.clear()
        run(folder / "1.mp4", folder / "2.mp4", folder / "1.mp4", "--resume")
        assert [Path(source).name for source in computed] == ["2.mp4", "1.mp4"]
        assert names() == ["1.mp4", "2.mp4", "1.mp4"]

    def test_a_name_that_is_no_text_is_known_again(
        self, folder: Path, run: Callable[..., Outcome], computed: list[str]
    ) -> None:
        run("half \udcff.mp4", folder / "1.mp4")
        before = Path("results.jsonl").read_bytes()
        computed.clear()
        run("half \udcff.mp4", folder / "1.mp4", "--resume")
        assert computed == ["half \udcff.mp4"]
        assert Path("results.jsonl").read_bytes() == before

    def test_a_link_stays_one(self, folder: Path, run: Callable[..., Outcome]) -> None:
        Path("elsewhere").mkdir()
        Path("results.jsonl").symlink_to(Path("elsewhere/results.jsonl").absolute())
        run(folder / "2.mp4")
        run(folder, "--resume")
        assert Path("results.jsonl").is_symlink()
        assert names("elsewhere/results.jsonl") == NAMES

    def test_top_k_is_as_many_as_there_are_classes(self, folder: Path, run: Callable[..., Outcome]) -> None:
        run(folder / "1.mp4", "--top-k", "5")
        assert run(folder, "--top-k", "7", "--resume").code == 0
        assert names() == NAMES


class TestResumeIsRefused:
    def refused(self, outcome: Outcome, *parts: str) -> None:
        assert outcome.code == 2, outcome.err
        (message,) = outcome.messages
        assert [part for part in parts if part not in message] == []

    @pytest.mark.parametrize(
        "line",
        [
            b"label   score  source",
            b'{"source": "a.mp4"}',
            b'{"source": 3, "error": "x"}',
            b'{"source": "a.mp4", "label": "red", "top": [], "model": "0"}',
            b'{"source": "a.mp4", "label": "red", "top": [{"label": "red"}]}',
            b'{"source": "a.mp4", "label": "red", "top": [{"label": "red"}], "model": 4}',
            b'["source"]',
            b"7",
            b"",
            b"\xff\xfe",
        ],
    )
    def test_where_a_line_is_not_ours(self, folder: Path, run: Callable[..., Outcome], line: bytes) -> None:
        run(folder / "1.mp4")
        before = Path("results.jsonl").read_bytes() + line + b"\n"
        Path("results.jsonl").write_bytes(before)
        self.refused(run(folder, "--resume"), "line 2", "--force", "--output")
        assert Path("results.jsonl").read_bytes() == before

    def test_where_the_model_is_another_whatever_its_date(self, folder: Path, checkpoint: Path, exported: Path) -> None:
        model = shutil.copy(exported, "model.ts")
        arguments = ["predict", model, folder, "--output", "results.jsonl"]
        assert activity(*arguments).code == 0
        before = Path("results.jsonl").read_bytes()
        later = time.time() + 60
        os.utime(model, (later, later))
        assert activity(*arguments, "--resume").code == 0
        shutil.copy(checkpoint, model)  # of the same classes, and older than the results
        os.utime(model, (0, 0))
        (message,) = activity(*arguments, "--resume").messages
        self.refused(activity(*arguments, "--resume"), "results of another model", "model.ts", "--force")
        assert str(results()[0]["model"]) in message
        assert Path("results.jsonl").read_bytes() == before

    def test_where_another_number_of_classes_is_asked_for(self, folder: Path, run: Callable[..., Outcome]) -> None:
        run(folder / "1.mp4")
        self.refused(run(folder, "--resume", "--top-k", "2"), "--top-k 1", "--force")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--output", "results.csv"], "the format is csv"),
            (["--output", "results"], "the format is table"),
            (["--output", "results.jsonl", "--format", "table"], "the format is table"),
            (["--format", "jsonl"], "there is no --output"),
            (["--output", "results.jsonl", "--force"], "--force"),
        ],
    )
    def test_where_nothing_can_be_resumed(self, folder: Path, exported: Path, arguments: list[str], said: str) -> None:
        self.refused(activity("predict", exported, folder, "--resume", *arguments), said)


@pytest.mark.slow
class TestStopped:
    @pytest.fixture
    def process_arguments(self, folder: Path, exported: Path) -> list[object]:
        long = write_colour_video(folder / "0 long.mp4", "red", frames=20_000)
        return ["predict", exported, long, folder / "1.mp4", folder / "2.mp4", "--output", "results.jsonl"]

    def stop(self, arguments: list[object], how: signal.Signals) -> tuple[int, str]:
        """Stop it once the short videos are done: their lines are there while the long one before them is read."""
        with start(*arguments, cwd=Path.cwd()) as process:
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline and process.poll() is None:
                if Path("results.jsonl").exists() and Path("results.jsonl").read_bytes().count(b"\n") == 2:
                    break
                time.sleep(0.02)
            process.send_signal(how)
            _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def test_by_ctrl_c_the_way_on_is_said(self, process_arguments: list[object]) -> None:
        code, errors = self.stop(process_arguments, signal.SIGINT)
        assert code == 130
        assert "Traceback" not in errors
        assert names() == ["1.mp4", "2.mp4"]
        (line,) = [line for line in errors.splitlines() if "Go on with: " in line]
        command = shlex.split(line.partition("Go on with: ")[2])
        assert command[:3] == ["activity", "predict", "--resume"]
        write_colour_video(Path(str(process_arguments[2])), "red", frames=6)
        resumed = activity(*command[1:])
        assert (resumed.code, "2 of 3 sources are in" in resumed.err) == (0, True)
        assert names() == ["0 long.mp4", "1.mp4", "2.mp4"]

    @pytest.mark.parametrize("verb", ["predict", "timeline"])
    def test_by_a_kill_the_lines_are_there(self, process_arguments: list[object], verb: str) -> None:
        code, _ = self.stop([verb, *process_arguments[1:]], signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert names() == ["1.mp4", "2.mp4"]


@pytest.mark.slow
class TestProgress:
    def in_a_terminal(self, *arguments: object, stdout_too: bool) -> tuple[str, str]:
        """What stands in the terminal, and on a standard output that is none."""
        ours, theirs = pty.openpty()
        seen, out = b"", ""
        with start(*arguments, cwd=Path.cwd(), stderr=theirs, **({"stdout": theirs} if stdout_too else {})) as process:
            os.close(theirs)
            try:
                while block := os.read(ours, 65536):
                    seen += block
            except OSError:  # Linux says so at the end
                pass
            if process.stdout is not None:
                out = process.stdout.read()
        os.close(ours)
        return seen.decode(), out

    @pytest.mark.parametrize(("verb", "speed"), [("predict", "files/s"), ("timeline", "x real time")])
    def test_a_bar_in_the_terminal_and_results_where_they_are_piped(
        self, folder: Path, exported: Path, verb: str, speed: str
    ) -> None:
        seen, out = self.in_a_terminal(verb, exported, folder, "gone.mp4", "--format", "jsonl", stdout_too=False)
        sources = dict.fromkeys(json.loads(line)["source"] for line in out.splitlines())
        assert [Path(source).name for source in sources] == [*NAMES, "gone.mp4"]
        assert "5/5" in seen
        assert "100%" in seen
        assert speed in seen
        assert '{"source"' not in seen
        assert "no such file" in seen

    def test_no_bar_among_results_in_one_terminal(self, folder: Path, exported: Path) -> None:
        seen, _ = self.in_a_terminal("predict", exported, folder, "--format", "jsonl", stdout_too=True)
        assert seen.count('{"source"') == 4
        assert "files/s" not in seen
