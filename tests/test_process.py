from __future__ import annotations

import os
import signal

import pytest

from komt.process import guarded


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
