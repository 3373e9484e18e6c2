"""Time limits on threads, in processes of their own: what only the first limit of a process meets, and tracers."""

from collections.abc import Callable
from typing import Any


def test_a_program_that_is_traced_goes_on_after_a_limit(run_script: Callable[..., Any]) -> None:
    done = run_script(
        """
        import sys, threading
        from tidemill.interrupts import Limit, LimitPassed, call_within

        def spin():
            while True:
                pass

        def limited():
            try:
                call_within(Limit(0.01), spin, (), {})
            except LimitPassed:
                print("interrupted")

        thread = threading.Thread(target=limited)
        thread.start()
        thread.join()
        sys.settrace(lambda *_: None)
        (lambda: None)()
        print("done")
        """
    )
    assert done.stdout == "interrupted\ndone\n", done.stderr


def test_the_first_limit_of_a_process_does_not_strike_into_a_shielded_block_either(run_script: Callable[..., Any]) -> None:
    """Several processes try it: each alternates between shielded and not while its first limit passes."""
    done = run_script(
        """
        import os, threading, time
        from tidemill.interrupts import Limit, LimitPassed, call_within, shielded

        def spin(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass

        def limited():
            inside = False

            def body():
                nonlocal inside
                while True:
                    with shielded:
                        inside = True
                        spin(0.006)
                        inside = False
                    spin(0.002)

            try:
                call_within(Limit(0.01), body, (), {})
            except LimitPassed:
                print("shielded" if inside else "free", flush=True)

        for _ in range(6):
            if not os.fork():
                thread = threading.Thread(target=limited)
                thread.start()
                thread.join()
                os._exit(0)
            os.wait()
        """
    )
    assert done.stdout.split() == ["free"] * 6, done.stderr
