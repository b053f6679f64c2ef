from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from komt.process import guarded, spinning_threads


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_work_with_one_message(
    capsys: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    cleaned = []

    def work() -> int:
        try:
            os.kill(os.getpid(), number)
            return 0
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    assert guarded(work) == status
    assert capsys.readouterr().err == (
        "\nkomt: interrupted; finished stages are kept, nothing is half-written\n"
    )
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_library_that_is_loaded_meanwhile_sees_openmps_own_way_of_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)

    def work() -> int:
        assert os.environ["OMP_WAIT_POLICY"].upper() == "PASSIVE"
        with spinning_threads():
            assert "OMP_WAIT_POLICY" not in os.environ
        assert os.environ["OMP_WAIT_POLICY"].upper() == "PASSIVE"
        return 0

    assert guarded(work) == 0


def test_a_persons_own_way_of_waiting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with spinning_threads():
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_a_busy_worker_ends_with_the_process_that_started_it() -> None:
    work = "from komt.process import end_with_parent; end_with_parent(); print(flush=True)\nwhile True: pass"
    begin = (
        "import multiprocessing, time\n"
        f"worker = multiprocessing.get_context('spawn').Process(target=exec, args=({work!r},))\n"
        "worker.start(); print(worker.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", begin], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.stdout.readline()  # it works
        parent.kill()
    assert psutil.wait_procs([worker], timeout=60)[1] == []
