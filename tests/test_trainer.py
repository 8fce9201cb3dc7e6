"""The loop: what it records, where it stops, and that a resumed training is the same to the last bit."""

import hashlib
import itertools
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys

import nbformat
import pytest
import torch

from foundry_lib import (
    CheckpointError,
    ConfigError,
    Corpus,
    CorpusError,
    FoundryError,
    MiniLLM,
    ModelConfig,
    TrainConfig,
)
from foundry_lib.commands.train import verdict
from foundry_lib.paths import LESSONS
from foundry_lib.text.loader import DataLoader
from foundry_lib.training.optimizer import learning_rate, make_optimizer
from foundry_lib.training.record import Record
from foundry_lib.training.trainer import Trainer

STEPS = 24
CONFIG = TrainConfig(batch_size=4, max_iters=STEPS, eval_interval=10, learning_rate=1e-2)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "zoo.txt"
    lines = [
        f"The {animal} number {n} eats {food} and sleeps.\n"
        for n in range(60)
        for animal, food in (("owl", "mice"), ("cow", "grass"), ("猫", "鱼"))
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def make_trainer(text_file, config: TrainConfig = CONFIG) -> Trainer:
    loader = DataLoader(text_file, batch_size=config.batch_size, block_size=16, vocab_size=400, seed=config.seed)
    model = ModelConfig(vocab_size=loader.vocab_size, dim=32, n_layers=1, n_heads=2, n_kv_heads=1, max_seq_len=16)
    return Trainer(MiniLLM(model), loader, config)


def fingerprint(trainer: Trainer) -> str:
    """A hash over every weight, bit by bit."""
    digest = hashlib.sha256()
    for name, tensor in trainer.model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def losses(trainer: Trainer) -> list:
    return [(r.step, r.train_loss, r.val_loss, r.lr, r.grad_norm) for r in trainer.history]


@pytest.fixture(scope="session")
def uninterrupted(text_file):
    trainer = make_trainer(text_file)
    list(trainer.run())
    return trainer


def test_records(uninterrupted):
    history = uninterrupted.history
    assert [r.step for r in history] == list(range(STEPS + 1))
    assert [r.step for r in history if r.val_loss is not None] == [0, 10, 20, STEPS]
    assert history[0].train_loss is None and all(r.train_loss > 0 and r.grad_norm > 0 for r in history[1:])
    assert history[0].val_loss == pytest.approx(math.log(uninterrupted.loader.vocab_size), abs=0.1)
    assert history[-1].val_loss < history[0].val_loss - 1
    assert history[-1].remaining == 0 and history[5].remaining > 0 and history[5].tokens_per_s > 0
    assert uninterrupted.status().startswith(f"Finished: {STEPS} steps")


def test_schedule():
    config = TrainConfig(max_iters=100, warmup_iters=10, learning_rate=1.0, min_lr_ratio=0.1)
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0 and rates[55] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)
    assert all(a > b for a, b in zip(rates[10:100], rates[11:], strict=True))


def test_decay_is_for_matrices(text_file):
    model = make_trainer(text_file).model
    decayed, spared = make_optimizer(model, CONFIG).param_groups
    assert decayed["weight_decay"] == CONFIG.weight_decay > 0 and spared["weight_decay"] == 0
    assert all(p.dim() == 2 and p is not model.tok_embeddings.weight for p in decayed["params"])
    assert sum(p.numel() for g in (decayed, spared) for p in g["params"]) == model.n_params


def test_two_trainings_are_one(text_file, uninterrupted):
    again = make_trainer(text_file)
    for _ in again.run():
        torch.rand(3)  # what a learner does in between changes nothing
    assert losses(again) == losses(uninterrupted) and fingerprint(again) == fingerprint(uninterrupted)


@pytest.mark.parametrize("stops", [[9], [1], [10, 20], [3, 4, 5, 17]])
def test_resumed_is_uninterrupted(text_file, uninterrupted, tmp_path, stops):
    trainer = make_trainer(text_file)
    for stop in stops:
        list(trainer.run(until=stop))
        trainer = Trainer.load(trainer.save(tmp_path))
    list(trainer.run())
    assert losses(trainer) == losses(uninterrupted)
    assert fingerprint(trainer) == fingerprint(uninterrupted)


def test_random_numbers_go_on_where_they_stood(text_file, tmp_path):
    """A part of one's own may draw from torch's generator, as dropout does."""
    trainer = make_trainer(text_file)
    torch.manual_seed(5)
    folder = trainer.save(tmp_path)
    expected = torch.rand(3)
    torch.manual_seed(6)
    Trainer.load(folder)
    assert torch.equal(torch.rand(3), expected)


def test_resumed_in_another_process(text_file, uninterrupted, tmp_path):
    trainer = make_trainer(text_file)
    list(trainer.run(until=13))
    saved = trainer.save(tmp_path)
    code = (
        "import sys, json; from foundry_lib.training.trainer import Trainer; sys.path.insert(0, sys.argv[2]);"
        "from test_trainer import fingerprint; t = Trainer.load(sys.argv[1]); list(t.run()); print(fingerprint(t))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(saved), os.path.dirname(__file__)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split()[-1] == fingerprint(uninterrupted)


@pytest.mark.parametrize("part", ["model", "optimizer", "step", "data"])
def test_each_part_of_the_state_matters(text_file, uninterrupted, tmp_path, part):
    """A test of the tests above: with any one part left out, the resumed training ends elsewhere."""
    trainer = make_trainer(text_file)
    list(trainer.run(until=12))
    trainer = Trainer.load(trainer.save(tmp_path))
    if part == "model":
        trainer.model.init_weights()
    elif part == "optimizer":
        trainer.optimizer.state.clear()
    elif part == "step":
        trainer.step -= 1
    else:
        trainer.loader.load_state(make_trainer(text_file).loader.state())
    list(trainer.run())
    assert fingerprint(trainer) != fingerprint(uninterrupted)


def test_a_changed_text_is_refused(text_file, tmp_path):
    copy = tmp_path / "copy.txt"
    copy.write_bytes(text_file.read_bytes())
    trainer = make_trainer(copy)
    list(trainer.run(until=2))
    saved = trainer.save(tmp_path / "run")
    copy.write_text(copy.read_text(encoding="utf-8") + "One more line.\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="copy.txt is not the text of this training.*Put back the text as it was"):
        Trainer.load(saved)


def test_a_model_without_training_is_refused(text_file, tmp_path):
    from foundry_lib.training.checkpoint import save_checkpoint

    trainer = make_trainer(text_file)
    folder = save_checkpoint(tmp_path / "m", trainer.model, trainer.loader.tokenizer)
    with pytest.raises(CheckpointError, match="trainer.json"):
        Trainer.load(folder)


def test_the_cell_behind_each_training_of_lesson_07_says_that_it_was_stopped(text_file):
    """Whoever presses ■ and reads on is told in words at once, not by a TypeError some cells below."""
    lesson = nbformat.read(LESSONS / "07_training.ipynb", as_version=4)
    code = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    stopped, names = make_trainer(text_file), []
    for source, behind in itertools.pairwise(code):
        for name in re.findall(r"\bwatch\((\w+),", source):
            with pytest.raises(FoundryError, match="Let the training go on from there"):
                exec(behind, {name: stopped})
            names.append(name)
    assert names == ["trainer", "own"]


@pytest.mark.skipif(os.name == "nt", reason="os.kill cannot send Ctrl-C to itself on Windows")
def test_an_interrupt_stops_at_a_step_and_goes_on(text_file, uninterrupted):
    trainer = make_trainer(text_file)
    step_done = trainer.optimizer.step

    def interrupted_step():
        if trainer.step in (5, 6):  # in the very middle of an update, twice
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return step_done()

    trainer.optimizer.step = interrupted_step
    before = signal.getsignal(signal.SIGINT)
    list(trainer.run())
    assert trainer.interrupted and trainer.step == 6
    assert trainer.status() == f"Stopped at step 6 of {STEPS}; call run() again to go on from here."
    assert "; run the cell again to go on" in trainer.status("run the cell again")
    with pytest.raises(FoundryError, match=f"a training of {STEPS} steps, which stands at step 6. Let the training"):
        trainer.check_ended()
    assert signal.getsignal(signal.SIGINT) is before
    list(trainer.run())
    assert trainer.step == 7
    list(trainer.run())
    trainer.check_ended()
    assert not trainer.interrupted and fingerprint(trainer) == fingerprint(uninterrupted)


def test_a_run_left_in_the_middle_gives_the_handler_back(text_file):
    before = signal.getsignal(signal.SIGINT)
    run = make_trainer(text_file).run()
    next(run), next(run)
    assert signal.getsignal(signal.SIGINT) is not before
    run.close()
    assert signal.getsignal(signal.SIGINT) is before


def run_command(module: str, *arguments, cwd) -> subprocess.CompletedProcess:
    root = os.path.dirname(os.path.dirname(__file__))
    env = {**os.environ, "PYTHONPATH": root, "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-m", "foundry_lib", module, *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def test_the_two_commands(text_file, tmp_path):
    refused = run_command("generate", "--prompt", "The owl", cwd=tmp_path)
    assert refused.returncode == 2 and "train first" in refused.stderr and "Traceback" not in refused.stderr
    options = [
        "--data",
        text_file,
        "--block-size",
        16,
        "--vocab-size",
        400,
        "--device",
        "cpu",
        "--eval-interval",
        10,
        "--out",
        "runs/a b",
    ]
    trained = run_command("train", *options, "--steps", 20, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    for words in ("threads", "parameters", "ln V", "bits/byte", "step    20", "Saved to"):
        assert words in trained.stdout
    assert sorted(p.name for p in (tmp_path / "runs" / "a b").glob("[!.]*")) == ["step-000010", "step-000020"]
    again = run_command("train", "--resume", "runs/a b", "--device", "cpu", cwd=tmp_path)
    assert again.returncode == 0 and "Nothing was left to train" in again.stdout
    spoken = run_command("generate", "--prompt", "The owl", "--tokens", 12, "--device", "cpu", cwd=tmp_path)
    assert spoken.returncode == 0, spoken.stderr
    assert spoken.stdout.count("===") == 2 and spoken.stdout.count("The owl") == 1, "one text"
    options_of_many = ("--compare", "--tokens", 4, "--device", "cpu")
    many = run_command("generate", "--prompt", "The owl", *options_of_many, cwd=tmp_path)
    assert many.stdout.count("===") == 6 and many.stdout.count("The owl") == 8
    wrong = run_command("train", *options[:-1], "other", "--steps", 0, cwd=tmp_path)
    assert not (tmp_path / "other").exists()
    assert wrong.returncode == 2 and "max_iters" in wrong.stderr and "Traceback" not in wrong.stderr


def test_the_best_checkpoint_of_an_overfitted_training_is_kept(tmp_path):
    rng = random.Random(0)
    text = "".join(rng.choice("abcdefgh \n") for _ in range(600))  # nothing to learn but by heart
    (tmp_path / "noise.txt").write_text(text, encoding="utf-8")
    options = ["--data", "noise.txt", "--block-size", 16, "--vocab-size", 269, "--device", "cpu", "--out", "run"]
    done = run_command("train", *options, "--steps", 400, "--eval-interval", 50, "--learning-rate", 0.01, cwd=tmp_path)
    best = re.search(r"lowest at (step-\d+)", done.stdout)
    assert done.returncode == 0 and best, done.stdout
    kept = sorted(p.name for p in (tmp_path / "run").glob("[!.]*"))
    assert kept == [best[1], "step-000350", "step-000400"] and done.stdout.rstrip().endswith(best[1])


POEMS = [
    "静夜思\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n",
    "春晓\n春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。\n",
    "登鹳雀楼\n白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。\n",
    "相思\n红豆生南国，春来发几枝。\n愿君多采撷，此物最相思。\n",
    "江雪\n千山鸟飞绝，万径人踪灭。\n孤舟蓑笠翁，独钓寒江雪。\n",
    "鹿柴\n空山不见人，但闻人语响。\n返景入深林，复照青苔上。\n",
]


def test_learning_by_heart_is_said_of_a_few_poems(tmp_path):
    (tmp_path / "poems.txt").write_text("\n".join(POEMS), encoding="utf-8")
    options = ["--data", "poems.txt", "--block-size", 8, "--device", "cpu", "--out", "run", "--eval-interval", 100]
    done = run_command("train", *options, "--steps", 300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the model learned the text by heart" in done.stdout and "is kept" not in done.stdout.split("by heart")[0]


def record(step, train_loss, val_loss):
    return Record(step, train_loss, val_loss, 0.0, 0.0, 0.0, 0.0, 0.0)


HISTORIES = {  # (step, training loss, validation loss) …: what is said, and the checkpoint to listen to
    "falls": ([(0, None, 7.0), (10, 5.0, 5.5), (20, 4.0, 4.8)], "lowest at the end, 4.800: the model did not", 20),
    "rises within the noise": (
        [(0, None, 7.0), (10, 5.0, 4.80), (20, 4.0, 4.81)],
        "lowest at step 10, and is hardly higher at the end, 4.810",
        20,
    ),
    "rises": ([(0, None, 7.0), (10, 3.0, 4.8), (20, 1.0, 5.5)], "lowest at step-000010, 4.800, and 5.500 at", 10),
    "rises from the start": ([(0, None, 6.97), (10, 0.1, 8.49), (20, 0.01, 7.63)], "lowest at step 0, before any", 20),
    "falls by luck": ([(0, None, 6.97), (10, 0.1, 8.49), (20, 0.01, 6.9)], "training loss is 0.055 and the val", 20),
    "not evaluated yet": ([(0, None, 7.0)], "", 0),
}


@pytest.mark.parametrize("case", HISTORIES)
def test_what_a_history_says_of_learning_by_heart(tmp_path, case):
    records, says, hear = HISTORIES[case]
    for step in (10, 20):  # nothing is saved before the first step
        (tmp_path / f"step-{step:06d}").mkdir()
    last = tmp_path / f"step-{records[-1][0]:06d}"
    sentence, folder = verdict([record(*numbers) for numbers in records], last)
    assert says in sentence and bool(says) == bool(sentence)
    assert ("by heart" in sentence) == case.startswith(("rises", "falls by")) * ("noise" not in case)
    assert folder.name == f"step-{hear:06d}"


def test_a_second_training_does_not_replace_the_first(text_file, tmp_path):
    options = ["--block-size", 16, "--vocab-size", 400, "--device", "cpu", "--out", "my run", "--steps", 2]
    assert run_command("train", "--data", text_file, *options, cwd=tmp_path).returncode == 0
    saved = tmp_path / "my run" / "step-000002" / "model.safetensors"
    before = saved.read_bytes()
    (tmp_path / "b.txt").write_text("Another text.\n" * 500, encoding="utf-8")
    for text in ("b.txt", text_file):
        again = run_command("train", "--data", text, *options, cwd=tmp_path)
        assert again.returncode == 2 and "my run holds a training of zoo.txt, saved as step-000002" in again.stderr
        assert "--resume 'my run'" in again.stderr or os.name == "nt"
        assert saved.read_bytes() == before


def test_a_project_folder_that_was_renamed_can_be_resumed(tmp_path):
    lines = [f"The owl number {n} eats mice.\n" for n in range(200)]
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "my.txt").write_text("".join(lines), encoding="utf-8")
    options = ["--data", "my.txt", "--block-size", 16, "--vocab-size", 300, "--device", "cpu", "--out", "run"]
    assert run_command("train", *options, "--steps", 2, cwd=tmp_path / "p1").returncode == 0
    (tmp_path / "p1").rename(tmp_path / "p2")
    beside = run_command("train", "--resume", "run", cwd=tmp_path / "p2")
    assert beside.returncode == 0 and "Nothing was left" in beside.stdout, beside.stderr
    (tmp_path / "p2" / "my.txt").rename(tmp_path / "new name.txt")
    gone = run_command("train", "--resume", "run", cwd=tmp_path / "p2")
    assert gone.returncode == 2 and "The text of this training cannot be read" in gone.stderr
    assert "--data FILE" in gone.stderr and "Traceback" not in gone.stderr
    given = run_command("train", "--resume", "run", "--data", "../new name.txt", cwd=tmp_path / "p2")
    assert given.returncode == 0, given.stderr
    (tmp_path / "new name.txt").write_text("".join(lines[1:]), encoding="utf-8")
    changed = run_command("train", "--resume", "run", "--data", "../new name.txt", cwd=tmp_path / "p2")
    assert (
        changed.returncode == 2 and "new name.txt is not the text of this training: that was my.txt" in changed.stderr
    )
    assert "Train one for this text" not in changed.stderr and "new training, in another folder" in changed.stderr


def test_the_filters_of_the_plain_text(text_file, tmp_path):
    trainer = make_trainer(text_file)
    list(trainer.run(until=8))  # before any training all tokens are equally probable
    trainer.save(tmp_path / "run")

    def plain(*options):
        arguments = ["--checkpoint", "run", "--prompt", "The", "--tokens", 8, "--device", "cpu", *options]
        done = run_command("generate", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        title, text = done.stdout.split("=== ")[1].split(" ===\n")
        return title, text

    title, greedy = plain("--temperature", 0)
    assert title == "Plain: temperature 0"
    for options in (["--top-k", 1], ["--min-p", 1], ["--top-p", 1e-6]):
        title, text = plain("--temperature", 1.5, *options)
        assert title == f"Plain: temperature 1.5, {options[0][2:].replace('-', '_')} {options[1]:g}"
        assert text == greedy
    title, text = plain("--temperature", 0, "--repetition-penalty", 100)
    assert "repetition_penalty 100" in title and text != greedy
    wrong = run_command("generate", "--checkpoint", "run", "--top-p", 2, cwd=tmp_path)
    assert wrong.returncode == 2 and "top_p" in wrong.stderr


def test_the_log_is_kept(text_file, tmp_path):
    trainer = make_trainer(text_file)
    list(trainer.run(until=11))
    values = json.loads((trainer.save(tmp_path) / "trainer.json").read_text(encoding="utf-8"))
    assert values["step"] == 11 and len(values["history"]) == 12


def test_the_loop_is_the_textbook_loop(text_file):
    """Warm-up and cosine, clipping, AdamW with its betas and decay: written out again here, and the same weights."""
    config = CONFIG.with_(grad_clip=0.5, beta1=0.8, beta2=0.9, max_iters=6, warmup_iters=2)
    ours, other = make_trainer(text_file, config), make_trainer(text_file, config)
    list(ours.run())
    model, embedding = other.model, other.model.tok_embeddings.weight
    decayed = [p for p in model.parameters() if p.dim() == 2 and p is not embedding]
    spared = [p for p in model.parameters() if p.dim() == 1 or p is embedding]
    groups = [{"params": decayed, "weight_decay": 1.0}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.8, 0.9), fused=True)
    rates = [0.005, 0.01] + [0.01 * (0.05 + 0.95 * (1 + math.cos(math.pi * i / 4)) / 2) for i in range(4)]
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, y = other.loader.get_batch("train")
        loss = torch.nn.functional.cross_entropy(model(x)[0].flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum(p.grad.square().sum() for p in model.parameters()))
        for p in model.parameters():
            p.grad *= min(1.0, 0.5 / (norm.item() + 1e-6))
        optimizer.step()
    assert any(r.grad_norm > 0.5 for r in ours.history)
    for a, b in zip(ours.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5)


def test_parts_that_do_not_fit_are_refused_before_training(text_file):
    good = make_trainer(text_file)
    for changes in ({"vocab_size": 999}, {"max_seq_len": 8}):
        with pytest.raises(ConfigError, match=next(iter(changes))):
            Trainer(MiniLLM(good.model.config.with_(**changes)), good.loader, CONFIG)
    with pytest.raises(ConfigError, match="batch_size=5, the loader 4"):
        Trainer(good.model, good.loader, CONFIG.with_(batch_size=5))


def test_a_diverged_training_stops_at_the_last_good_step(text_file):
    trainer = make_trainer(text_file)
    list(trainer.run(until=3))
    before = fingerprint(trainer)
    loss = trainer.model.loss
    trainer.model.loss = lambda *batch: loss(*batch) * math.nan
    with pytest.raises(FoundryError, match="loss is nan .* in step 4: the training has diverged"):
        list(trainer.run())
    assert fingerprint(trainer) == before and trainer.step == 3


@pytest.mark.parametrize("where", ["forward", "backward", "update"])
def test_a_step_without_memory_changes_nothing_and_says_what_to_do(text_file, uninterrupted, where, monkeypatch):
    trainer = make_trainer(text_file)
    list(trainer.run(until=3))
    before, position = fingerprint(trainer), trainer.loader.state()

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    with monkeypatch.context() as patch:
        if where == "forward":
            patch.setattr(trainer.model, "hidden", full)
        elif where == "backward":
            patch.setattr(torch.Tensor, "backward", full)
        else:
            patch.setattr(trainer.optimizer, "step", full)
        with pytest.raises(FoundryError, match=r"batch_size=2 \(0\.00 GiB\), block_size=8 .*or dim=16") as refused:
            list(trainer.run())
    assert refused.value.__context__ is None or "CUDA" not in str(refused.value)
    assert fingerprint(trainer) == before and trainer.step == 3
    assert all(torch.equal(position[split], now) for split, now in trainer.loader.state().items())
    assert all(p.grad is None for p in trainer.model.parameters())
    list(trainer.run())
    assert fingerprint(trainer) == fingerprint(uninterrupted)


def test_the_estimate_of_memory_is_of_the_right_size(text_file):
    """Against what a step really allocates: the weights' share exactly, the kept activations within a half."""
    from foundry_lib.training.memory import step_bytes

    config = ModelConfig.preset("tiny", vocab_size=1024, max_seq_len=128)
    model, kept = MiniLLM(config), {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    idx = torch.zeros(8, 128, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _, loss = model(idx, idx)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    activations = sum(size for place, size in kept.items() if place not in weights)
    estimate = step_bytes(config, 8, 128) - 16 * config.n_params
    print(f"\nkept {activations / 2**20:.1f} MiB, estimated {estimate / 2**20:.1f} MiB")
    assert 0.67 < estimate / activations < 1.5


def test_resuming_keeps_what_it_finds(text_file, tmp_path):
    options = ["--data", text_file, "--block-size", 16, "--vocab-size", 400, "--device", "cpu", "--eval-interval", 2]
    foreign = tmp_path / "run" / "thesis"
    foreign.mkdir(parents=True)
    (foreign / "manifest.json").write_text("{}", encoding="utf-8")
    assert run_command("train", *options, "--steps", 8, "--out", "run", cwd=tmp_path).returncode == 0
    assert sorted(p.name for p in (tmp_path / "run").glob("[!.]*")) == ["step-000006", "step-000008", "thesis"]
    shutil.rmtree(tmp_path / "run" / "step-000008")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    resumed = run_command("train", "--resume", tmp_path / "run" / "step-000006", "--device", "cpu", cwd=elsewhere)
    assert resumed.returncode == 0, resumed.stderr + resumed.stdout
    assert (tmp_path / "run" / "step-000008" / "manifest.json").exists()
    both = run_command("train", "--resume", "run", "--steps", 9, cwd=tmp_path)
    assert both.returncode == 2 and "leave out --steps" in both.stderr
    nowhere = run_command("train", *options, "--steps", 2, "--device", "nothing", cwd=tmp_path)
    assert nowhere.returncode == 2 and "cannot be used here" in nowhere.stderr


def test_a_first_update_without_memory_leaves_no_half_made_state(text_file, uninterrupted, monkeypatch):
    trainer = make_trainer(text_file)
    real = trainer.optimizer.step

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    def step():
        with monkeypatch.context() as patch:
            patch.setattr(torch, "zeros_like", full)  # AdamW makes its step counter, and then not its averages
            real()

    trainer.optimizer.step = step
    with pytest.raises(FoundryError, match="no memory left"):
        list(trainer.run())
    trainer.optimizer.step = real
    list(trainer.run())
    assert fingerprint(trainer) == fingerprint(uninterrupted)


def test_the_advice_for_a_missing_text_names_a_corpus_too(tmp_path):
    loader = DataLoader(Corpus("zoo", ("The owl eats mice and sleeps. " * 90,)), batch_size=4, block_size=16)
    model = ModelConfig(
        vocab_size=loader.vocab_size, dim=32, n_layers=1, n_heads=2, n_kv_heads=1, max_seq_len=loader.longest_row
    )
    saved = Trainer(MiniLLM(model), loader, CONFIG).save(tmp_path)
    with pytest.raises(CorpusError, match="text=FILE.*or text=CORPUS where CORPUS is a Corpus object"):
        Trainer.load(saved)


def test_the_seed_of_the_settings_is_a_note(text_file, tmp_path):
    trainer = make_trainer(text_file)
    trainer.save(tmp_path)
    other = make_trainer(text_file)
    other.config = other.config.with_(seed=5)
    other.save(tmp_path)


def test_a_stop_during_the_first_evaluation_comes_before_the_first_step(text_file, monkeypatch):
    trainer, real = make_trainer(text_file), Trainer._evaluate

    def pressed(self):
        signal.raise_signal(signal.SIGINT)
        return real(self)

    monkeypatch.setattr(Trainer, "_evaluate", pressed)
    assert [record.step for record in trainer.run()] == [0] and trainer.interrupted
