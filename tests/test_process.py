from __future__ import annotations

import os
import signal

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
