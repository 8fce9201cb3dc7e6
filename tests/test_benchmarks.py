"""The benchmarks' own work, at sizes of a second: that rivals race at the same work, and that the table says what was
found. The rivals work in this process here; one test starts a real worker."""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from foundry_lib import ModelConfig, tales
from foundry_lib.text.corpus import Corpus
from foundry_lib.training.recipes import TALES, new_trainer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import decoding_speed
import docs_speed
import filters_speed
import import_speed
import peers
import race
import report
import results
import tokenizer_speed
import training_speed
import waiting_speed


class Here:
    """`race.Rival` without a process."""

    def __init__(self, make, *args, threads=1):
        try:
            self.rival = make(*args)
        except ImportError as error:
            raise race.AbsentError(str(error)) from None

    def timed(self, method, *args):
        started = time.perf_counter()
        result = 2**20 if method == "peak_bytes" else getattr(self.rival, method)(*args)
        return time.perf_counter() - started, result

    def call(self, method, *args):
        return self.timed(method, *args)[1]

    def seconds(self, method, *args):
        return self.timed(method, *args)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Rivals in this process, results in a folder of the test's, one round."""
    monkeypatch.setattr(race, "Rival", Here)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark", "--rounds", "1"])
    return tmp_path


def require(found: dict, peer: str):
    if peer in found["absent"]:
        pytest.skip(f"{peer} is not installed: {found['absent'][peer]}")


@pytest.mark.parametrize("peer", ["transformers", "litgpt"])
def test_training_races_at_the_same_work(here, peer):
    makers = {k: training_speed.MAKERS[k] for k in ("foundry_lib", peer)}
    found = training_speed.speed("tiny", 2, 8, rounds=1, steps=1, makers=makers)
    require(found, peer)
    assert found["apart"] <= 1e-4 and set(found["speeds"]) == {"foundry_lib", peer, "bare products"}
    config = ModelConfig.preset("tiny", max_seq_len=8)
    assert found["operations"]["whole"] == 3 * config.flops_per_token
    section = training_speed.section("Training", found)
    assert {len(row) for row in section["rows"]} == {len(section["header"])}


def test_a_step_of_the_benchmark_trains(tmp_path):
    peers.Weights(tmp_path, "tiny")
    ours = training_speed.Ours(tmp_path, 2, 8)
    before = [p.clone() for p in ours.model.parameters()]
    first = ours.steps(1)
    assert ours.steps(3 * training_speed.POOL) < first  # the same batch, three times round the pool later
    assert all((p != q).any() for p, q in zip(before, ours.model.parameters(), strict=True))


@pytest.mark.parametrize("peer", [name for name in decoding_speed.MAKERS if name not in ("foundry_lib", "compiled")])
def test_decoding_races_at_the_same_work(here, peer, monkeypatch):
    makers = {k: decoding_speed.MAKERS[k] for k in ("foundry_lib", peer)}
    monkeypatch.setattr(decoding_speed, "BUFFER", 2**16)
    row = decoding_speed.Row
    rows = {"greedy": row("tiny", prompt=4, new=8), "batch": row("tiny", rows=3, prompt=4, new=8)}
    rows |= {"sampled": row("tiny", prompt=4, new=8, temperature=1.0), "prefill": row("tiny", prompt=9, new=1, times=2)}
    found = decoding_speed.speed("tiny", rows, rounds=1, makers=makers)
    require(found, peer)
    assert found["apart"] <= 1e-4
    for what in ("greedy", "batch", "prefill"):
        for text in found["texts"][what].values():
            assert text == found["texts"][what]["foundry_lib"]
            assert [len(line) for line in text] == [rows[what].new] * rows[what].rows
    section = decoding_speed.section("Decoding", rows, found)
    assert {len(line) for line in section["rows"]} == {len(section["header"])}


def test_rivals_that_compute_different_things_do_not_race():
    class Says:
        def __init__(self, *values):
            self.values = list(values)

        def call(self, method, ids):
            return self.values

    assert peers.apart({"a": Says(0.0, 1.0), "b": Says(0.0, 1.00005)}, []) == pytest.approx(5e-5)
    for other in (Says(0.0, 1.001), Says(0.0, float("nan"))):
        with pytest.raises(RuntimeError, match="b computes different things"):
            peers.apart({"a": Says(0.0, 1.0), "b": other}, [])


def test_the_waiting_command(monkeypatch, tmp_path):
    """With processes of their own: the setting is read when torch is imported."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark", "--rounds", "1"])
    monkeypatch.setattr(waiting_speed, "TURNS", {"sleeps at once": 0, waiting_speed.OURS: 1_000})
    monkeypatch.setattr(waiting_speed, "CROWD", 1)
    monkeypatch.setattr(waiting_speed, "SECONDS", 0.3)
    waiting_speed.main()
    (section,) = json.loads((tmp_path / "waiting.json").read_text(encoding="utf-8"))["sections"]
    first, ours = section["rows"]
    assert len(first) == len(section["header"]) and all(number > 0 for number in first[1:]) and ours[2::2] == [1, 1, 1]


def test_the_filters_command(here, monkeypatch):
    pytest.importorskip("transformers", reason="transformers is not installed")
    monkeypatch.setattr(filters_speed, "MOVES", {name: values[:2] for name, values in filters_speed.MOVES.items()})
    filters_speed.main()
    found = json.loads((here / "filters.json").read_text(encoding="utf-8"))
    assert len(found["promises"]) == 2 + len(filters_speed.MOVES) and all(p["found"] > 0 for p in found["promises"])


def test_the_tokenizers_work(here):
    tokenizer_speed.Texts(here, size=60_000)
    found = tokenizer_speed.measure(here, "tales", 400, rounds=1)
    ours, theirs = found["foundry_lib"], found[tokenizer_speed.AGAINST]
    assert ours["lossless"] and ours["pieces"] == theirs["pieces"] == 400 and 40_000 < ours["bytes"] <= 60_000
    code = json.loads((here / "code.json").read_text(encoding="utf-8"))
    assert len(set(code)) == len(code) > 1


def test_a_worker_is_a_process_of_its_own():
    peaks = {"colorsys": []}
    assert import_speed.once("colorsys", peaks) > 0 and peaks["colorsys"][0] > 2**20
    with pytest.raises(race.AbsentError, match="no_such_peer"), race.Rival(__import__, "no_such_peer"):
        pass
    with race.Rival(import_speed.Imported, "no_such_module") as rival, pytest.raises(race.AbsentError):
        rival.call("load")
    with race.Rival(import_speed.Imported, "json") as rival, pytest.raises(RuntimeError, match="no_such_method"):
        rival.call("no_such_method")


def test_turns_alternate_and_the_first_does_not_count():
    order = []

    def task(name, seconds):
        order.append(name)
        return seconds

    tasks = {"a": lambda: task("a", len(order)), "b": lambda: task("b", 2 * len(order))}
    seconds = race.take_turns(tasks, 2)
    assert "".join(order) == "baabba" and [len(values) for values in seconds.values()] == [2, 2]
    speeds = race.speeds({"a": [1.0, 2.0, 4.0], "b": [2.0, 2.0, 2.0]}, 8, "b")
    assert speeds["a"] == dict(median=4.0, low=2.0, high=8.0, ratio=1.0) and speeds["b"]["ratio"] == 1.0


def test_ours_must_run_and_an_absent_peer_is_named(here, capsys):
    def absent():
        raise ImportError("No module named 'peer'")

    rivals, missing = race.start(ExitStack(), {"foundry_lib": (dict,), "peer": (absent,)})
    assert list(rivals) == ["foundry_lib"] and missing == {"peer": "No module named 'peer'"}
    assert "peer is left out" in capsys.readouterr().out
    with pytest.raises(race.AbsentError):
        race.start(ExitStack(), {"foundry_lib": (absent,)})


def test_results_say_what_was_found_and_what_did_not_run(here, monkeypatch):
    promises = [
        report.promise("a speed", 1.0, least=1.25),
        report.promise("a size", 0.5, most=0.6, unit="×"),
        report.promise("what no peer was there for", None, least=1.0),
    ]
    section = dict(title="A table", header=["", "tokens/s"], rows=[["ours", 1234.5]], notes=["A note."])
    report.write("training", [section], promises, threads=2)
    monkeypatch.setattr(report, "HERE", here)
    for name in ("training", "decoding"):
        (here / f"{name}_speed.py").write_text('"""How fast?\n\nLike this.\n"""\n', encoding="utf-8")
    results.main()
    text = (here / "RESULTS.md").read_text(encoding="utf-8")
    assert "| a speed | ≥ 1.25 | 1 | **no** |" in text and "| a size | ≤ 0.6 × | 0.5 | yes |" in text
    assert "| what no peer was there for | ≥ 1 | – | not measured |" in text
    assert "`decoding_speed.py` was not run here" in text and "| ours | 1,234 |" in text and "Like this." in text
    assert f"torch {torch.__version__.split('+')[0]}" in text and "threads: 2" in text


def test_the_docs_are_learned_within_the_time(here, monkeypatch):
    monkeypatch.setattr(docs_speed, "SECONDS", 2)
    monkeypatch.setattr(docs_speed, "TRIAL", 4)
    docs_speed.main()
    found = json.loads((here / "docs.json").read_text(encoding="utf-8"))
    (_, steps, seconds, nats, bits), (label, *repeated), longer = found["sections"][0]["rows"]
    assert longer[:2] == ["twice the steps", f"{2 * int(steps.replace(',', '')):,}"] and longer[-1] < bits
    assert int(steps.replace(",", "")) > 4 and seconds > 0 and 3 < nats < 7 and 1 < bits < 4
    assert label == "with repetitions" and repeated[0] == steps and repeated[-1] != bits
    assert [line["held"] for line in found["promises"]] == [seconds <= 2, False]


def test_the_readme_shows_a_training_at_the_step_that_it_names():
    pytest.importorskip("playwright.sync_api", reason="no Playwright", exc_type=ImportError)
    import latency

    corpus = Corpus("few tales", tuple(tale.text for tale in tales.generate("en", seed=5, n=220)), grammar="en")
    trainer = new_trainer(corpus, vocab_size=1024, max_iters=12, eval_interval=4, dim=32, n_layers=1)
    picture = latency.training_picture(trainer, steps=8)
    assert trainer.step == 8 and picture == latency.LossFigure(trainer, latency.reference_lines(trainer.loader)).value
    readme = (latency.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"seen at step {latency.PICTURED} of {TALES.train['max_iters']:,}" in readme
    assert all(f"(data/lesson-{number}.png)" in readme for number in ("07", "08"))
