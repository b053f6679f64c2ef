from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

import psutil
import pytest

from komt.process import give_back_memory, guarded, spinning_threads


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


def test_what_lies_free_between_used_blocks_goes_back_to_the_system() -> None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        pytest.skip("the C library is not glibc")
    library.malloc.restype = ctypes.c_void_p
    size, process = 64 << 10, psutil.Process()  # below the size that gets a mapping of its own
    blocks = [ctypes.c_void_p(library.malloc(size)) for _ in range(2000)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:
        library.free(block)
    held = process.memory_info().rss
    give_back_memory()
    assert held - process.memory_info().rss > 100 << 20
    library.free(blocks[-1])
