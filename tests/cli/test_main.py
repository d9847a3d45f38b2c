import gc
import subprocess
import sys
from pathlib import Path

import pytest

from activity.cli.main import VERBS
from tests.cli.command import CHECKOUT, activity


def test_help_lists_the_verbs() -> None:
    outcome = activity("--help")
    assert outcome.code == 0
    assert all(f"\n  {verb} " in outcome.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb: str) -> None:
    outcome = activity(verb, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"activity {verb}" in outcome.out


def test_help_does_not_wait_for_torch() -> None:
    script = (
        "import sys; from activity.cli.main import main; main(['--help'])\n"
        "assert not {'torch', 'cv2', 'hydra', 'numpy'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_predict_from_an_exported_file_imports_no_training_libraries(exported: Path, colour_folder: Path) -> None:
    video = colour_folder / "red" / "actor0.mp4"
    script = (
        "import sys; from activity.cli.main import main\n"
        f"code = main(['predict', {str(exported)!r}, {str(video)!r}])\n"
        "assert code == 0\n"
        "heavy = {'pytorch_lightning', 'lightning', 'hydra', 'omegaconf', 'timm', 'torchvision', 'torchmetrics'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_collector_neither_stops_the_imports_nor_looks_through_them_afterwards() -> None:
    script = (
        "import gc, sys; from activity.cli.main import main\n"
        "collected = []; gc.callbacks.append(lambda phase, info: collected.append(info['generation']))\n"
        "sys.argv = ['activity', 'inspect', 'nothing.ts']; before = gc.get_freeze_count()\n"
        "main()\n"
        "assert 2 not in collected, collected\n"
        "assert gc.get_freeze_count() > before + 100_000, gc.get_freeze_count()\n"
        "assert gc.isenabled()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_caller_from_python_leaves_is_collected() -> None:
    frozen, enabled = gc.get_freeze_count(), gc.isenabled()
    activity("inspect", "nothing.ts")
    assert (gc.get_freeze_count(), gc.isenabled()) == (frozen, enabled)


def test_in_a_thread_signals_stay_those_of_the_caller() -> None:
    script = (
        "import sys, threading; from activity.cli.main import main; sys.argv = ['activity', 'inspect', 'nothing.ts']\n"
        "codes = []; thread = threading.Thread(target=lambda: codes.append(main())); thread.start(); thread.join()\n"
        "assert codes == [2], codes"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing.ts" in done.stderr


def test_without_a_verb_help_and_wrong_use() -> None:
    outcome = activity()
    assert outcome.code == 2
    assert "predict" in outcome.out


def test_version() -> None:
    outcome = activity("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("activity 0.")


@pytest.mark.parametrize(("given", "meant"), [("predcit", "predict"), ("trian", "train"), ("Export", "export")])
def test_an_unknown_verb_gets_the_nearest(given: str, meant: str) -> None:
    outcome = activity(given)
    assert outcome.code == 2
    assert len(outcome.messages) == 1
    assert repr(given) in outcome.messages[0]
    assert f"Did you mean {meant!r}?" in outcome.messages[0]


def test_a_mistake_is_one_message_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    outcome = activity("inspect", tmp_path / "missing.ckpt")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    with pytest.raises(ValueError, match=r"missing\.ckpt"):
        activity("inspect", tmp_path / "missing.ckpt", "--debug")


def test_an_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import activity.cli.inspect as verb

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(verb, "load_recognizer", broken)
    with pytest.raises(ZeroDivisionError):
        activity("inspect", tmp_path)
