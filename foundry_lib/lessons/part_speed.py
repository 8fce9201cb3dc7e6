"""Whether a learner's function takes much longer than the library's, and in which of its lines."""

import inspect
import linecache
import sys
import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

SLOW = 3  # times the library's seconds; an attention that is written out takes about twice as long


def examples(device: str) -> dict[str, tuple]:
    """Inputs of the size that a small training has, for each function that is measured."""
    g = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g).to(device).requires_grad_()

    B, T, D, H, K, d, F, V = 4, 96, 64, 4, 2, 16, 160, 512
    targets = torch.randint(V, (B, T), generator=g).to(device)
    return {
        "rms_norm": (random(B, T, D), random(D), 1e-5),
        "rotary": (random(B, H, T, d), random(B, K, T, d), random(2, T, d // 2).detach()),
        "gqa": (random(B, H, T, d), random(B, K, T, d), random(B, K, T, d)),
        "swiglu": (random(B, T, D), random(F, D), random(F, D), random(D, F)),
        "mean_loss": (random(B, T, V), targets),
    }


def slow_line(own: Callable, library: Callable, given: tuple) -> str | None:
    """What to tell the learner where `own` takes SLOW times as long as `library`, forward and backward; else None."""
    times = {own: [], library: []}
    for turns in (5, 20):  # the second time only for what looked slow
        for _ in range(turns):  # in turns, so that a busy machine is busy for both
            for function in times:
                times[function].append(seconds_of(function, given))
        ratio = min(times[own]) / min(times[library])
        if ratio < SLOW:
            return None
    number, code = slowest_line(own, given)
    return f"takes {ratio:.0f} times as long as the library's, most of it in line {number}: {code}"


def seconds_of(function: Callable, given: tuple) -> float:
    """Processor time of one call and its backward pass: what else the machine does hardly counts."""
    started = time.process_time()
    result = function(*given)
    parts = [result] if isinstance(result, Tensor) else result
    sum(part.sum() for part in parts).backward()
    if parts[0].is_cuda:
        torch.cuda.synchronize()
    return time.process_time() - started


def slowest_line(function: Callable, given: tuple) -> tuple[int, str]:
    """The number and the text of the line in which one call spends most of its time, waiting included."""
    file, seconds, last = inspect.unwrap(function).__code__.co_filename, Counter(), []

    def note(frame, event, argument):
        if frame.f_code.co_filename != file:
            return None
        if last:
            number, started = last.pop()
            seconds[number] += time.perf_counter() - started
        last.append((frame.f_lineno, time.perf_counter()))
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        function(*given)
    finally:
        sys.settrace(before)
    number = seconds.most_common(1)[0][0]
    return number, linecache.getline(file, number).strip()
