"""A provider is asked as often as it bears, and left alone when it says so."""

from __future__ import annotations

import threading
import time

from tessera_mosaic.pipeline.io.throttle import LONGEST_PAUSE, Account


def test_a_provider_that_names_a_long_pause_gets_it() -> None:
    account = Account()
    account.throttled(2 * LONGEST_PAUSE)
    assert account.rest > 1.9 * LONGEST_PAUSE
    other = Account(pause=1e9)
    other.throttled(None)
    assert other.rest <= LONGEST_PAUSE


def test_retry_after_is_waited_for_by_all() -> None:
    account = Account(pause=60.0)
    account.throttled(0.2)
    began = time.monotonic()
    threads = [threading.Thread(target=lambda: account.turn().__enter__()) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 0.2


def test_an_account_runs_fewer_requests_after_a_throttling_and_recovers() -> None:
    account, running, most = Account(most=8, pause=0.0), [0], [0]
    lock = threading.Lock()

    def request() -> None:
        with account.turn():
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.02)
            with lock:
                running[0] -= 1
        account.served()

    def run(count: int) -> int:
        most[0] = 0
        threads = [threading.Thread(target=request) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return most[0]

    assert run(40) == 8
    for _ in range(3):
        account.throttled(0.0)
    assert run(2) == 1
    for _ in range(100):
        account.served()
    assert run(40) == 8
