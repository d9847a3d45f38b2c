"""Worker processes: how many there may be, and how they end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from activity.training import processes
from activity.training.processes import available_memory_mb, usable_cores, worker_processes


def test_cores_are_those_that_this_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(processes, "_CONTAINER", tmp_path)
    assert usable_cores() == 3
    for quota, cores in (("max 100000", 3), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 3)):
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
        assert usable_cores() == cores
    (tmp_path / "cpu.max").unlink()
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 64


def test_available_memory_is_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_MEMORY_FACTS", tmp_path / "meminfo")
    monkeypatch.setattr(processes, "_CONTAINER", tmp_path)
    assert available_memory_mb() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemFree: 1 kB\nMemAvailable:    2000000 kB\n")
    assert available_memory_mb() == 2048.0
    (tmp_path / "memory.current").write_text("900000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory_mb() == 2048.0
    (tmp_path / "memory.max").write_text("1000000000\n")
    assert available_memory_mb() == 100.0
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300000000\n")
    assert available_memory_mb() == 400.0


@pytest.mark.slow
class TestWorkers:
    def test_pass_over_ctrl_c_and_are_gone_at_once_where_it_ends_the_work(self) -> None:
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            self.work_and_interrupt()
        assert time.monotonic() - begun < 300
        assert multiprocessing.active_children() == []

    def work_and_interrupt(self) -> None:
        with worker_processes(2, _begin, "") as pool:
            for _ in ("while they are importing", "when they have begun"):
                for child in multiprocessing.active_children():  # as a terminal does
                    os.kill(child.pid or 0, signal.SIGINT)
                assert pool.submit(_pid).result(timeout=120) != os.getpid()
            pool.submit(time.sleep, 600)
            raise KeyboardInterrupt

    def test_end_where_whoever_started_them_is_killed(self) -> None:
        owner = subprocess.Popen([sys.executable, "-c", _OWNER], stdout=subprocess.PIPE, text=True)
        assert owner.stdout is not None
        workers = [int(word) for word in owner.stdout.readline().split()]
        assert len(workers) == 2
        owner.kill()
        # The workers hold the pipe too: it ends with the last of them.
        assert owner.communicate(timeout=60) == ("", None)

    def test_one_that_is_killed_is_an_error(self) -> None:
        with pytest.raises(BrokenProcessPool), worker_processes(1, _begin, "") as pool:
            pool.submit(_die).result(timeout=60)
        assert multiprocessing.active_children() == []


_OWNER = """
import multiprocessing, time
from activity.training.processes import worker_processes

def main():
    with worker_processes(2, int) as pool:
        pool.submit(int).result()  # they have begun
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(600)

if __name__ == "__main__":
    main()
"""


def _begin(_: str) -> None:
    pass


def _pid() -> int:
    return os.getpid()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
