"""Runs in folders: skipped when done, resumed bit for bit, never replaced unasked, and compared by Welch's test."""

import json
import signal
import threading

import pytest
import torch
from helpers import PACKAGE, imported_rooms

from foundry_lib import ConfigError, FoundryError
from foundry_lib.analysis.statistics import beyond_noise
from foundry_lib.experiments import ablations, runs
from foundry_lib.experiments import sweeps as experiments
from foundry_lib.experiments.runs import compare, curves, load, overlay, time_apart, tokens_per_second
from foundry_lib.experiments.sweeps import sweep
from foundry_lib.text.corpus import told

TEXT = told("en", 200)
SMALL = dict(text=TEXT, dim=16, batch_size=1, eval_interval=1000, val_fraction=0.05, max_iters=6)


def weights(run):
    from foundry_lib.training.checkpoint import load_checkpoint

    return load_checkpoint(run.checkpoint)[0].state_dict()


def same_weights(one, other):
    a, b = weights(one), weights(other)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_is_a_folder_that_tells_all(tmp_path, capsys):
    (run,) = sweep("one", {"a": {"learning_rate": 1e-3}}, seeds=(3,), root=tmp_path, **SMALL)
    assert run.folder == tmp_path / "one" / "a-seed3" and run.done
    config = json.loads((run.folder / "run.json").read_text("utf-8"))
    assert config["train"]["learning_rate"] == 1e-3 and config["train"]["seed"] == 3 and config["model"]["dim"] == 16
    assert config["text"] == {"name": "200 tales-en", "sha256": TEXT.sha256, "bytes": TEXT.n_bytes}
    assert {"hash", "tokenizer", "where", "threads", "when"} <= set(config)
    assert [record["step"] for record in run.log] == list(range(7))
    assert run.log[-1]["val_loss"] == run.result["val_loss"] and run.result["steps"] == 6
    assert run.result["share"] > 1 and "mirror" in run.result["owed"] and run.result["tokens"] == 6 * 200
    assert load("one", tmp_path) == [run] and len(list(run.folder.glob("step-*"))) == 1
    assert "a-seed3: trained, 6 steps" in capsys.readouterr().out


def test_done_is_skipped_and_other_results_are_never_replaced_unasked(tmp_path, capsys, monkeypatch):
    rows, where = {"a": {}, "b": {"learning_rate": 2e-3}}, dict(seeds=(0,), root=tmp_path)
    first = sweep("again", rows, **where, **SMALL)
    written = [(run.folder / "result.json").stat().st_mtime_ns for run in first]
    capsys.readouterr()
    again = sweep("again", rows, **where, **SMALL)
    assert again == first and capsys.readouterr().out.count("done before, skipped") == 2
    assert written == [(run.folder / "result.json").stat().st_mtime_ns for run in again]

    changed = rows | {"b": {"learning_rate": 3e-3}}
    for other in (changed, {"c": {}} | changed):
        with pytest.raises(ConfigError, match=r"b-seed0 holds a run with other settings .*0.002 → 0.003.*another name"):
            sweep("again", other, **where, **SMALL)
    with pytest.raises(ConfigError, match="a-seed0 holds a run with other settings .another text"):
        sweep("again", {"a": {}}, **where, **{**SMALL, "text": told("en", 201)})
    assert load("again", tmp_path) == first, "nothing is lost, and nothing was trained before the refusal"

    capsys.readouterr()
    replaced = sweep("again", changed, overwrite=True, **where, **SMALL)
    printed = capsys.readouterr().out
    assert "a-seed0: done before" in printed and "b-seed0: trained again (learning_rate 0.002 → 0.003)" in printed
    assert replaced[0] == first[0] and replaced[1].config["train"]["learning_rate"] == 3e-3

    monkeypatch.setattr(experiments, "code_hash", lambda: "other code")
    sweep("again", {"b": {"learning_rate": 3e-3}}, **where, **SMALL)
    assert "b-seed0: trained again (the library's code has changed)" in capsys.readouterr().out


def test_a_stopped_run_of_another_experiment_is_not_replaced_either(tmp_path, monkeypatch):
    step = experiments.Trainer.train_step

    def pressed(self):
        if self.step == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self)

    where = dict(seeds=(0,), root=tmp_path, **SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(experiments.Trainer, "train_step", pressed)
        (stopped,) = sweep("stop", {"a": {}}, **where)
    with pytest.raises(ConfigError, match="holds a run with other settings .dim 16 → 32"):
        sweep("stop", {"a": {"dim": 32}}, **where)
    assert load("stop", tmp_path) == [stopped] and stopped.checkpoint


class Cut(Exception):
    pass


def test_what_was_killed_goes_on_bit_for_bit(tmp_path, capsys, monkeypatch):
    where = dict(seeds=(0,), save_every=2, **SMALL)
    (whole,) = sweep("whole", {"a": {}}, root=tmp_path, **where)
    assert sorted(path.name for path in whole.folder.glob("step-*")) == ["step-000004", "step-000006"]
    step, steps = experiments.Trainer.train_step, []

    def dies(self):
        steps.append(self.step)
        if self.step == 5:
            raise Cut
        return step(self)

    monkeypatch.setattr(experiments.Trainer, "train_step", dies)
    with pytest.raises(Cut):
        sweep("cut", {"a": {}}, root=tmp_path, **where)
    (left,) = load("cut", tmp_path)
    assert left.result is None and left.log[-1]["step"] == 4 and "1 of 1 not finished" in compare([left])
    steps.clear()
    monkeypatch.setattr(experiments.Trainer, "train_step", lambda self: (steps.append(self.step), step(self))[1])
    torch.manual_seed(99)
    (gone_on,) = sweep("cut", {"a": {}}, root=tmp_path, **where)
    assert steps == [4, 5] and "went on from step 4" in capsys.readouterr().out
    assert same_weights(whole, gone_on) and whole.result["val_loss"] == gone_on.result["val_loss"]
    assert [record["train_loss"] for record in whole.log[1:]] == [r["train_loss"] for r in gone_on.log[1:]]


def test_the_stop_button_ends_after_the_step(tmp_path, capsys, monkeypatch):
    assert threading.current_thread() is threading.main_thread()
    step = experiments.Trainer.train_step

    def pressed(self):
        if self.step == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self)

    where = dict(seeds=(0,), root=tmp_path, **SMALL)
    monkeypatch.setattr(experiments.Trainer, "train_step", pressed)
    found = sweep("stop", {"a": {}, "b": {}}, **where)
    assert "run the same call again to go on" in capsys.readouterr().out
    assert [run.row for run in found] == ["a"] and found[0].log[-1]["step"] == 4 and found[0].result is None
    monkeypatch.setattr(experiments.Trainer, "train_step", step)
    a, b = sweep("stop", {"a": {}, "b": {}}, **where)
    (whole,) = sweep("whole", {"a": {}}, **where)
    assert same_weights(a, whole) and b.done


def test_a_damaged_checkpoint_is_said_and_the_run_begins_anew(tmp_path, capsys):
    where = dict(seeds=(0,), root=tmp_path, **SMALL)
    (run,) = sweep("hurt", {"a": {}}, **where)
    (run.folder / "result.json").unlink()
    (run.checkpoint / "model.safetensors").write_bytes(b"x")
    (again,) = sweep("hurt", {"a": {}}, **where)
    assert "is missing or damaged" in capsys.readouterr().out
    assert again.result["val_loss"] == run.result["val_loss"]


def test_a_divergence_is_written_down_and_the_sweep_goes_on(tmp_path, capsys):
    rows = {"wild": {"learning_rate": 1e9, "warmup_iters": 0}, "calm": {}}
    wild, calm = sweep("lr", rows, seeds=(0,), root=tmp_path, **{**SMALL, "max_iters": 12})
    assert wild.result["status"] == "diverged" and "lower learning_rate" in wild.result["why"] and calm.done
    out, err = capsys.readouterr()
    assert "  1 of 1 diverged" in compare([wild, calm]) and "wild-seed0: diverged in step" in out
    assert "100 %" in err.split("\r")[-1] and "2.0 of 2 runs" in err.split("\r")[-1], "the bar stays, and is full"
    sweep("lr", rows, seeds=(0,), root=tmp_path, **{**SMALL, "max_iters": 12})
    assert "wild-seed0: diverged before, skipped" in capsys.readouterr().out


def test_a_divergence_while_the_steps_are_measured_is_written_down_too(tmp_path):
    settings = {name: value for name, value in SMALL.items() if name != "max_iters"}
    rows = {"wild": {"learning_rate": 1e9, "warmup_iters": 0}, "calm": {}}
    wild, calm = sweep("lr", rows, seeds=(0,), time_limit=0.5, root=tmp_path, **settings)
    assert wild.result["status"] == "diverged" and calm.done


def test_a_full_memory_is_no_divergence(tmp_path, monkeypatch):
    def full(trainer):
        raise torch.OutOfMemoryError

    with monkeypatch.context() as patched:
        patched.setattr(experiments.Trainer, "train_step", full)
        with pytest.raises(FoundryError, match="no memory left"):
            sweep("full", {"a": {}}, seeds=(0,), root=tmp_path, **SMALL)
    (run,) = sweep("full", {"a": {}}, seeds=(0,), root=tmp_path, **SMALL)
    assert run.done


def test_equal_time_fits_the_schedule_and_all_seeds_get_as_many_steps(tmp_path):
    settings = {name: value for name, value in SMALL.items() if name != "max_iters"}
    found = sweep("time", {"a": {}, "b": {"dim": 128}}, seeds=(0, 1), root=tmp_path, time_limit=1.0, **settings)
    steps = {row: {run.result["steps"] for run in found if run.row == row} for row in "ab"}
    assert len(steps["a"]) == len(steps["b"]) == 1 and min(steps["a"]) > max(steps["b"])
    for run in found:
        assert 0.3 < run.result["processor_seconds"] < 3, "a busy machine may be off by some"
        last, first = run.log[-1]["lr"], run.config["train"]["learning_rate"]
        assert last < 0.2 * first and run.config["train"]["max_iters"] == run.result["steps"]


def test_the_measured_speed_leaves_the_training_as_it_was(tmp_path):
    settings = {name: value for name, value in SMALL.items() if name != "max_iters"}
    (timed,) = sweep("time", {"a": {}}, seeds=(0,), root=tmp_path, time_limit=0.1, **settings)
    (plain,) = sweep("steps", {"a": {}}, seeds=(0,), root=tmp_path, max_iters=timed.result["steps"], **settings)
    assert same_weights(timed, plain) and timed.config["train"] == plain.config["train"]


def test_a_machine_that_is_busy_for_a_while_slows_all_rows_alike(monkeypatch):
    """A step of the wide row costs three of the narrow one, also where the first 320 seconds go ten times slower."""
    clock = [0.0]

    class Probe:
        def __init__(self, cost, seed):
            self.cost = cost

        def train_step(self):
            clock[0] += self.cost * (10 if clock[0] < 320 else 1)

    monkeypatch.setattr(experiments, "new_trainer", Probe)
    monkeypatch.setattr(experiments.time, "process_time", lambda: clock[0])
    rows = {"narrow": {"cost": 1, "seed": 0}, "wide": {"cost": 3, "seed": 0}}
    assert experiments.steps_that_fit(rows, 90.0) == {"narrow": 90, "wide": 30}


def test_an_interrupt_while_the_steps_are_measured_is_a_stop(tmp_path, monkeypatch, capsys, request):
    settings = {name: value for name, value in SMALL.items() if name != "max_iters"}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores the signal
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with monkeypatch.context() as patched:
        patched.setattr(experiments.Trainer, "train_step", lambda trainer: signal.raise_signal(signal.SIGINT))
        assert sweep("halted", {"a": {}}, seeds=(0,), time_limit=0.1, root=tmp_path, **settings) == []
    assert "run the same call again to go on" in capsys.readouterr().out
    (run,) = sweep("halted", {"a": {}}, seeds=(0,), time_limit=0.1, root=tmp_path, **settings)
    assert run.done


NOT_IN_THE_HASH = {
    "console": "what a command prints",
    "errors": "sentences",
    "files": "how a file is written",
    "inputs": "what is refused",
    "mode": "dropout rests in an evaluation, and the library's parts have none",
    "paths": "where files lie",
    "shape": "what an annotation says where a comparison is asked for",
    "runtime": "whether there is such a device, and how threads wait",
}


def test_the_hash_is_over_all_code_that_a_training_runs():
    hashed = {name.split("/")[0].removesuffix(".py") for name in experiments.CODE.split()}
    seen, left = {"experiments"}, {"training"}  # of its own folder only the variants, parts that a training is given
    while left:
        seen |= left
        files = [file for name in left for file in [PACKAGE / f"{name}.py", *(PACKAGE / name).glob("*.py")]]
        left = {room for file in files if file.exists() for room in imported_rooms(file)} - seen
    assert seen == hashed | set(NOT_IN_THE_HASH)
    assert all(list(PACKAGE.glob(name)) for name in experiments.CODE.split())


def test_names_of_any_language_and_with_spaces(tmp_path):
    root = tmp_path / "我的 课程"
    (run,) = sweep("学习率 one", {"行 一 0.5": {}}, seeds=(1,), root=root, **SMALL)
    assert run.folder == root / "学习率 one" / "行 一 0.5-seed1" and load("学习率 one", root) == [run]


@pytest.mark.parametrize("name", ["a/b", "..", "a:b", "", " a", "a.", "x" * 81, 'say "a"', "a\nb", 3])
def test_a_name_that_is_no_folder_is_refused(name, tmp_path):
    for experiment, row in ((name, "a"), ("a", name)):
        with pytest.raises(ConfigError, match="cannot name a folder"):
            sweep(experiment, {row: {}}, root=tmp_path / "r", **SMALL)
    assert not (tmp_path / "r").exists()


REFUSED = {
    "only in small and capital": dict(rows={"A": {}, "a": {}}),
    "at least one row": dict(rows={}),
    "one seed": dict(seeds=3),
    "no setting 'dimm'": dict(rows={"a": {}, "b": {"dimm": 3}}),
    "dim must be a multiple": dict(rows={"a": {}, "b": {"dim": 63}}),
    "learning_rate must be": dict(rows={"b": {"learning_rate": -1.0}}),
    "no setting 'seed'": dict(rows={"b": {"seed": 1}}),
    "time_limit must be": dict(time_limit=0),
    "max_iters and time_limit, and each decides": dict(time_limit=1),
    "no preset": dict(preset="huge"),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_sweep_that_cannot_be_run_is_refused_before_it_begins(said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        sweep("no", **{"rows": {"a": {}}, "root": tmp_path / "r", **SMALL, **REFUSED[said]})
    assert not (tmp_path / "r").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    mine = tmp_path / "e" / "a-seed0" / "letter.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear", encoding="utf-8")
    with pytest.raises(ConfigError, match="something that is not a run"):
        sweep("e", {"a": {}}, root=tmp_path, **SMALL)
    assert mine.read_text("utf-8") == "dear"
    with pytest.raises(ConfigError, match="no runs in"):
        load("e", tmp_path)


def test_the_shipped_table_uses_the_rule():
    cells = ablations.by_row()
    text = ablations.table(list(cells)).splitlines()
    base, stars = cells["whole model"], 0
    assert text[0].split() == ["all,", "%", *list(base)[1:]]
    for (row, columns), line in zip(cells.items(), text[1:], strict=True):
        for column, printed in zip(columns, line.removeprefix(row).split(), strict=True):
            worse = beyond_noise(base[column], columns[column]) and sum(columns[column]) > sum(base[column])
            assert printed.endswith("*") == worse, (row, column)
            stars += worse
    assert 10 < stars < 50


def made_up(row, seed, share, losses, pace=0.5):
    log = [{"step": s, "train_loss": v, "seconds": s * pace} for s, v in enumerate(losses, 1)]
    result = {"status": "done", "steps": len(losses), "seconds": len(losses) * pace, "share": share}
    return runs.Run(row, seed, None, {}, log, result)


def test_the_table_and_the_curves(tmp_path):
    found = [made_up("base", k, 0.10 + k / 100, [4.0, 3.0, 2.0 + k]) for k in range(3)]
    found += [made_up("worse", k, 0.30, [5.0, 5.0, 5.0, 5.0]) for k in range(3)]
    found += [made_up("same", k, 0.12, [4.0], pace=2.0) for k in range(3)]
    lines = compare(found).splitlines()
    assert lines[1].split() == "base 3 3 1.5 11.0 10.0 to 12.0".split()
    assert lines[2].endswith("30.0 to 30.0    +19.0 (+16.5 to +21.5)   0.002") and lines[3].endswith("   0.225")
    one = compare([run for run in found if run.seed < 1]).splitlines()
    assert one[2].endswith("30.0 to 30.0"), "one seed each: no test"
    two = compare([run for run in found if run.row != "base" or run.seed < 1]).splitlines()
    assert two[2].endswith("30.0 to 30.0"), "nor against one seed"
    wild = [runs.Run("wild", k, None, {}, [], {"status": "diverged", "steps": 2, "why": "nan"}) for k in range(3)]
    head, *_, last = compare(found + wild).splitlines()
    assert last.split() == "wild 0 3 of 3 diverged".split() and last.index("3 of 3") == head.index(" p") + 4
    x, y = curves(found, "seconds")["base"][1]
    assert x.tolist() == [0.5, 1.0, 1.5] and y.tolist() == [4.0, 3.0, 3.0]

    smooth = curves([made_up("long", 0, 0.1, [1.0, 3.0] * 20)])["long"][0][1]
    assert smooth[:3].tolist() == pytest.approx([1.0, 2.0, 5 / 3]) and smooth[-1] == 2.0, "the mean of four steps"

    busy = [made_up("busy", k, 0.1, [3.0, 2.0], pace=5.0) for k in range(2)]
    for run, seconds in zip(busy, (1.0, 1.4), strict=True):
        run.result["processor_seconds"] = seconds
    assert [x.tolist() for x, _ in curves(busy, "seconds")["busy"]] == [[0.5, 1.0], [0.7, 1.4]], "not the clock's"

    from matplotlib.figure import Figure

    ax = Figure().subplots()
    overlay(busy, x="seconds", ax=ax)
    assert ax.lines[2].get_xdata().tolist() == [0.6, 1.2], "the mean ends at the mean of the ends"
    reading = overlay(found, ax=ax)
    assert "base 3.00 nats after 3" in reading and reading.endswith("steps.")
    assert len(ax.lines) == 3 * 3 + 3 and len(ax.collections) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["base", "worse", "same"]
    assert len({line.get_linestyle() for line in ax.lines}) == 3
    assert "seconds." in overlay(found, x="seconds", ax=ax)
    with pytest.raises(ConfigError, match="x is"):
        overlay(found, x="epochs", ax=ax)


def test_time_and_speed_are_those_of_the_processor():
    found = [made_up("a", k, 0.1, [1.0] * 4) for k in range(2)] + [made_up("b", k, 0.1, [1.0] * 4) for k in range(2)]
    for run, seconds in zip(found, (1.0, 3.0, 2.0, 2.5), strict=True):
        run.result.update(processor_seconds=seconds, tokens=800)
    assert time_apart(found) == pytest.approx(2.25 / 2 - 1), "of the means"
    assert tokens_per_second(found, "a") == 1600 / 4
