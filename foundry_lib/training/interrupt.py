"""Ctrl-C and the notebook's ■ as a request to stop, which a training answers between two steps."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace


@contextmanager
def stop_request() -> Iterator[tuple[SimpleNamespace, Callable[[], None]]]:
    """A flag that Ctrl-C or ■ sets, instead of raising KeyboardInterrupt in the middle of a step.

    Yields (flag, arm); `flag.asked` becomes True. Call `arm` before every step: a notebook sets its own handler again
    between two cells. Only the main thread receives the signal; in any other thread the flag stays False.
    """
    flag = SimpleNamespace(asked=False)  # no threading.Event: its `set` takes a lock, and a second press would wait
    if threading.current_thread() is not threading.main_thread():  # for ever inside the first one's `set`
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
