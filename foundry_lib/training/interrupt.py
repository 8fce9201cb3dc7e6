"""Ctrl-C and the notebook's ■ as a request to stop, which a training answers between two steps."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace


@contextmanager
def stop_request() -> Iterator[tuple[SimpleNamespace, Callable[[], None]]]:
    """A flag that Ctrl-C or ■ sets, instead of raising KeyboardInterrupt in the middle of a step.

    Yields (flag, arm). `flag.asked` becomes True at Ctrl-C or ■. Call `arm` before every step, because a notebook sets
    its own handler again between two cells. Only the main thread receives the signal; in any other thread the flag
    stays False.
    """
    # No threading.Event: its `set` takes a lock, and a second press during the first one's `set` would wait for ever.
    flag = SimpleNamespace(asked=False)
    if threading.current_thread() is not threading.main_thread():
        yield flag, lambda: None
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number, frame):
        flag.asked = True

    def arm():
        signal.signal(signal.SIGINT, ask)

    try:
        arm()
        yield flag, arm
    finally:
        signal.signal(signal.SIGINT, before)
