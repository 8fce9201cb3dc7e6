"""Lesson 00 examines this computer: is everything installed, how fast does it train, and which preset suits it?"""

import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import psutil
import torch

from .. import plots, runtime
from ..config import PRESETS, ModelConfig, TrainConfig
from ..console import interpreter, moving
from ..models.model import MiniLLM
from ..training.trainer import Trainer

GIB = 2**30
SAMPLE_CHINESE = "满纸荒唐言，一把辛酸泪。"


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was examined, whether it suffices, its value, and what to do if it does not."""

    name: str
    ok: bool
    value: str
    fix: str

    def __str__(self):
        return f"{'✓' if self.ok else '✗'} {self.name:<18} {self.value}" + ("" if self.ok else f"\n    → {self.fix}")


def examine() -> list[Finding]:
    """Examine Python, torch, device, memory, disk, widgets and the Chinese font."""
    device, threads = runtime.best_device(), torch.get_num_threads()
    memory, disk = psutil.virtual_memory().available / GIB, shutil.disk_usage(".").free / GIB
    new_enough = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
    computes = torch.ones(3, device=device).sum().item() == 3
    missing = plots.glyphs_missing(SAMPLE_CHINESE)
    fonts = plots.cjk_fonts()
    try:
        widgets = version("ipywidgets")
    except PackageNotFoundError:
        widgets = None
    idle = idle_gpu() if device == "cpu" else ""  # the lessons run on the CPU as well, so this is no fault
    accelerator = f" ({torch.cuda.get_device_name()})" if device == "cuda" else ""
    return [
        Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "Install Python 3.11 or newer."),
        Finding("PyTorch", new_enough, torch.__version__, "Run `python3 course.py lab` again; it installs one."),
        Finding(
            "device",
            computes,
            f"{device}{accelerator}, {threads} threads{idle}",
            "Its driver does not answer; restart.",
        ),
        Finding("memory", memory >= 1, f"{memory:.1f} GiB free", "Close other programs: the lessons need about 1 GiB."),
        Finding("disk", disk >= 1, f"{disk:.0f} GiB free", "Free some room: a training saves its checkpoints here."),
        Finding("widgets", bool(widgets), f"ipywidgets {widgets}", "Run `python3 course.py lab`; it installs it."),
        Finding(
            "Chinese characters",
            not missing,
            fonts[0] if fonts else "no font",
            "Run `python3 course.py lab` again; it installs the course's font. Boxes in plots do no other harm.",
        ),
    ]


def idle_gpu() -> str:
    """What to do about an NVIDIA GPU that PyTorch cannot use; "" if there is none.

    uv finds the build for the GPU's driver; pip on Windows takes a build without CUDA. Windows replaces no file that a
    kernel has open, so JupyterLab must have ended.
    """
    if not shutil.which("nvidia-smi"):
        return ""
    if torch.version.cuda is not None:
        return "\n    → PyTorch cannot reach the NVIDIA GPU of this computer: install its newest driver, and restart."
    python, plain = interpreter(), torch.__version__.split("+")[0]
    return (
        "\n    → PyTorch cannot use the NVIDIA GPU of this computer: it is a build without CUDA. To change that, stop "
        f"JupyterLab and run in a terminal:\n      {python} -m pip install uv; {python} -m uv pip install "
        f"--python {python} --torch-backend=auto --reinstall-package torch torch=={plain}"
    )


def training_speed(loader, preset: str, steps: int = 10) -> float:
    """Tokens per second when `preset` trains on the text of `loader`: the median of `steps` steps, after two more."""
    config = ModelConfig.preset(preset, vocab_size=loader.vocab_size, max_seq_len=loader.block_size)
    training = TrainConfig(batch_size=loader.batch_size, max_iters=steps + 2, eval_interval=steps + 2)
    records = moving(Trainer(MiniLLM(config), loader, training).run(), f"measuring {preset}", steps + 3)
    speeds = sorted(record.tokens_per_s for record in records if record.step > 2)
    return speeds[len(speeds) // 2]


def minutes_to_train(speeds: dict[str, float], tokens: int, loader) -> dict[str, float]:
    """Minutes that each preset needs for `tokens` tokens of training.

    speeds: preset → tokens per second. The time of a preset that is missing there is estimated
    from the largest preset that was measured, by floating-point operations per token.
    """
    flops = {
        name: ModelConfig.preset(name, vocab_size=loader.vocab_size, max_seq_len=loader.block_size).flops_per_token
        for name in PRESETS
    }
    base = max(speeds, key=flops.get)
    return {name: tokens / speeds.get(name, speeds[base] * flops[base] / flops[name]) / 60 for name in PRESETS}


def recommend(minutes: dict[str, float], patience: float = 5.0) -> str:
    """The largest preset that trains within `patience` minutes, or else the smallest one.

    >>> recommend({"tiny": 1.0, "small": 4.0, "medium": 30.0}), recommend({"tiny": 9.0, "small": 40.0})
    ('small', 'tiny')
    """
    return [name for name in minutes if minutes[name] <= patience or name == next(iter(minutes))][-1]
