"""Whoever waits for the model gets it."""

import threading

import pytest

from komt.serve.fair_lock import FairLock


def test_a_thread_that_takes_the_lock_again_and_again_lets_others_in():
    lock, taken, stop = FairLock(), [], threading.Event()
    first = threading.Event()

    def greedy():
        while not stop.is_set():
            with lock:
                taken.append("greedy")
                first.set()

    threads = [threading.Thread(target=greedy) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert first.wait(60)
    for _ in range(50):
        with lock:
            taken.append("me")
    stop.set()
    for thread in threads:
        thread.join(60)
    assert taken.count("me") == 50


def test_an_error_gives_the_lock_back():
    lock = FairLock()
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 / 0
    with lock:
        pass


def test_only_one_is_in_at_a_time():
    lock, inside, most = FairLock(), [], []

    def enter():
        for _ in range(200):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) == 800
    assert max(most) == 1
