from pathlib import Path

from activity.training.log import read_learning_curves

HEADER = "epoch,step,train/loss,val/accuracy,val/loss\n"


def test_the_parts_of_a_resumed_run_are_one_curve_in_which_the_later_part_stands(tmp_path: Path) -> None:
    (tmp_path / "metrics_1.csv").write_text(HEADER + "0,9,,0.5,1.0\n0,9,2.0,,\n1,19,,0.6,0.9\n1,19,1.5,,\n")
    (tmp_path / "metrics_2.csv").write_text(HEADER + "1,19,,0.7,0.8\n1,19,1.4,,\n")
    (tmp_path / "metrics.csv").write_text(HEADER + "2,29,,0.8,0.7\n2,29,1.0,,\n")
    curves = read_learning_curves(tmp_path, best_epoch=2)
    assert curves is not None
    assert curves.train_loss == ((0, 2.0), (1, 1.4), (2, 1.0))
    assert curves.val_loss == ((0, 1.0), (1, 0.8), (2, 0.7))
    assert curves.val_accuracy == ((0, 0.5), (1, 0.7), (2, 0.8))
    assert curves.best_epoch == 2


def test_without_validation_or_without_a_log(tmp_path: Path) -> None:
    assert read_learning_curves(tmp_path, best_epoch=None) is None
    (tmp_path / "metrics.csv").write_text("epoch,step,train/loss\n0,9,2.0\n")
    curves = read_learning_curves(tmp_path, best_epoch=None)
    assert curves is not None
    assert (curves.train_loss, curves.val_loss) == (((0, 2.0),), ())
