"""What several test files use: small models and trainings, kernels, copies of the course, the package's imports."""

import ast
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from jupyter_client.manager import KernelManager

import foundry_lib
from foundry_lib import MiniLLM, ModelConfig
from foundry_lib.config import TrainConfig
from foundry_lib.text.loader import DataLoader
from foundry_lib.text.tokenizer import Tokenizer
from foundry_lib.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(foundry_lib.__file__).parent
SETTINGS = ("conftest.py", "pyproject.toml", "tests/sanitize.cfg", "tests/offline")  # how pytest runs a lesson
LEFT = ("runs", "__pycache__", ".ipynb_checkpoints")  # a learner's own work and Python's caches


def copy_of_course(folder: Path, *names: str) -> Path:
    """A course in `folder` with the settings of this one, and with its files and folders `names`."""
    for name in (*SETTINGS, *names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "notebooks").mkdir(exist_ok=True)
    return folder


def imported_rooms(file: Path) -> set[str]:
    """The folders and files of the package that a file imports, wherever in the file the import is."""
    depth, rooms = len(file.relative_to(PACKAGE).parts), set()
    inside = {path.stem for path in PACKAGE.iterdir()}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            rooms |= {name if name in inside else "__init__" for name in names}
        elif isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "foundry_lib" for alias in node.names):
            rooms.add("__init__")
    return rooms


# ---- Small models and trainings

CONFIG = ModelConfig(vocab_size=61, dim=32, n_layers=3, n_heads=4, n_kv_heads=2, max_seq_len=24)
TOKENIZER = Tokenizer.train("An owl sat in an oak. 猫头鹰坐在橡树上。\n" * 40, 300)
OWL_TEXT = "An owl sat in an oak. The more it saw the less it spoke.\n" * 60


def random_model(config: ModelConfig = CONFIG, dtype=torch.float32) -> MiniLLM:
    """A model whose head is not zero, so that its logits differ."""
    model = MiniLLM(config, seed=3)
    with torch.no_grad():
        model.output.weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(4))
    return model.to(dtype)


def tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(CONFIG.vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))


def small_model(seed: int = 0) -> MiniLLM:
    """A model with the vocabulary of TOKENIZER."""
    model = random_model(CONFIG.with_(vocab_size=TOKENIZER.vocab_size))
    model.init_weights(seed)
    return model


def small_trainer(path, steps: int) -> Trainer:
    """A training on the text in a file, such as OWL_TEXT, of some milliseconds per step."""
    loader = DataLoader(path, batch_size=2, block_size=16, vocab_size=300)
    config = ModelConfig(loader.vocab_size, 16, 1, 2, 1, max_seq_len=loader.longest_row)
    return Trainer(MiniLLM(config), loader, TrainConfig(batch_size=2, max_iters=steps, eval_interval=7))


# ---- Kernels


@contextmanager
def kernel(folder=None, **variables):
    """A kernel that can import the test files: its manager and its client. variables: added to its environment."""
    manager = KernelManager()
    env = dict(os.environ, PYTHONPATH=os.path.dirname(__file__), OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    env |= variables
    manager.start_kernel(env=env, cwd=folder, extra_arguments=["--log-level=ERROR"])
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(client, message_id: str, timeout=120, interrupted_late=False) -> str:
    """What a cell printed; an exception in it is the test's failure, except for a second interrupt after the stop."""
    text = ""
    while True:
        message = client.get_iopub_msg(timeout=timeout)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if message["msg_type"] == "stream":
            text += message["content"]["text"]
        if message["msg_type"] == "error":
            assert interrupted_late and message["content"]["ename"] == "KeyboardInterrupt", message["content"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return text


def run_cell(client, code: str) -> str:
    return printed(client, client.execute(code))


def functions_that_ran(run) -> set[tuple[str, str]]:
    """(name, file) of every Python function that `run` called."""
    ran = set()
    sys.setprofile(lambda frame, event, _: ran.add((frame.f_code.co_name, frame.f_code.co_filename)))
    try:
        run()
    finally:
        sys.setprofile(None)
    return ran
