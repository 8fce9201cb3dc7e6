"""Train a model from the command line: python -m foundry_lib train --data my_text.txt --preset tiny --steps 1500"""

import argparse
import sys
import time
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from .. import runtime
from ..config import PRESETS, TrainConfig
from ..console import command_line, run_command
from ..errors import CheckpointError
from ..files import writing
from ..tales.floor import FREE
from ..text.baselines import bits_per_byte, reference_lines
from ..training.checkpoint import Checkpoint, keep_newest, newest_checkpoint, steps_in
from ..training.recipes import new_trainer
from ..training.record import Record
from ..training.trainer import Trainer

NOISE = 0.02  # nats per token: a smaller rise of the validation loss means nothing
BY_HEART = 0.1  # a training loss below this share of the validation loss: the model knows the text by heart


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m foundry_lib train", description="Train a small language model.")
    parser.add_argument(
        "--data", default="tales-en", help="a UTF-8 text file, or a built-in text (default: %(default)s)"
    )
    parser.add_argument("--preset", default="tiny", choices=PRESETS, help="size of the model (default: %(default)s)")
    fits = "(default: what suits the text)"
    parser.add_argument("--steps", type=int, default=None, help=f"optimizer steps {fits}")
    parser.add_argument("--batch-size", type=int, default=None, help=f"sequences in a batch {fits}")
    parser.add_argument("--block-size", type=int, default=None, help=f"tokens in a sequence {fits}")
    parser.add_argument("--vocab-size", type=int, default=None, help=f"tokens of the vocabulary {fits}")
    parser.add_argument("--learning-rate", type=float, default=None, help=f"peak {fits}")
    parser.add_argument("--eval-interval", type=int, default=None, help="steps between validations and saves")
    parser.add_argument(
        "--seed", type=int, default=TrainConfig.seed, help="of weights and batches (default: %(default)s)"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda or mps (default: the best there is)")
    parser.add_argument(
        "--out", type=Path, default=None, help="folder for checkpoints (default: runs/DATA-PRESET-TIME)"
    )
    parser.add_argument("--resume", type=Path, default=None, help="go on from the newest checkpoint in this folder")
    return parser


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options. With --resume only --device and --data are allowed: the checkpoint holds all other settings."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    given = {name for name, value in vars(args).items() if value != parser.get_default(name)}
    others = sorted(given - {"resume", "device", "data"})
    if args.resume and others:
        parser.error(f"--resume goes on with the settings of its checkpoint; leave out --{others[0].replace('_', '-')}")
    args.moved_data = args.data if "data" in given else None
    return args


def start(args: argparse.Namespace) -> tuple[Trainer, Path, list[Path]]:
    """The training, its folder, and the checkpoints of it that are there already."""
    device = runtime.usable_device(args.device)
    print(runtime.describe(device), flush=True)
    if args.resume:
        newest = newest_checkpoint(args.resume)
        trainer = Trainer.load(newest, device=device, text=args.moved_data)
        print(f"Going on from {newest}")
        return trainer, newest.parent, [newest]
    out = args.out or Path("runs") / f"{Path(args.data).stem}-{args.preset}-{time.strftime('%Y%m%d-%H%M%S')}"
    refuse_trained_folder(out)
    with writing(out):
        pass  # a folder that cannot be written to is refused here, before the text is read
    trainer = new_trainer(
        args.data,
        args.preset,
        args.seed,
        device,
        max_iters=args.steps,
        batch_size=args.batch_size,
        block_size=args.block_size,
        vocab_size=args.vocab_size,
        learning_rate=args.learning_rate,
        eval_interval=args.eval_interval,
    )
    return trainer, out, []


def refuse_trained_folder(out: Path):
    """Raise CheckpointError when the folder holds checkpoints of an earlier training."""
    names = [path for path in steps_in(out) if path.name.startswith("step-")]
    if names:
        newest = Checkpoint.unverified(names[-1])
        text = newest.table("tokenizer.json").get("corpus_name", "another text")
        raise CheckpointError(
            f"{out} holds a training of {text}, saved as {names[-1].name}. Choose another folder for --out, or go on "
            f"with that training: {command_line('train', '--resume', out)}"
        )


def describe(trainer: Trainer) -> str:
    """Configuration, data and model, and the losses to compare with."""
    model, loader, config = trainer.model.config, trainer.loader, trainer.config
    parts = ", ".join(f"{name} {count:,}" for name, count in model.params_by_part.items() if count)
    lines = "\n".join(
        f"  {name:<12} {nats:.3f} nats/token   {bits_per_byte(nats, loader.val_bytes_per_token):.3f} bits/byte"
        for name, nats in reference_lines(loader).items()
    )
    tied = " (a tied head prefers some tokens from the start, so the first loss lies above ln V)"
    tied = tied if model.tie_embeddings else ""
    return (
        f"Training: batch {config.batch_size} × {loader.block_size} tokens, learning rate {config.learning_rate:g}, "
        f"{config.max_iters} steps, seed {config.seed}\n"
        f"Data: {loader.describe()}\n"
        f"Model: {trainer.model.n_params:,} parameters ({parts})\n"
        f"  dim {model.dim}, {model.n_layers} layers, {model.n_heads} heads, {model.n_kv_heads} key/value heads, "
        f"vocabulary {model.vocab_size}, context {model.max_seq_len}\n"
        f"Losses to compare with{tied}:\n{lines}"
    )


def above_floor(record: Record, floor) -> str:
    """For tales: how far the loss is above the floor, and the rule with the largest excess loss."""
    if record.excess is None:
        return ""
    hardest = max(set(record.owed) - {FREE}, key=record.owed.get)
    return (
        f"{record.excess / floor.nats:.1%} above the floor, most of all {hardest} ({record.owed[hardest]:.2f} nats)  "
    )


def report(bar: tqdm, record: Record, loader):
    """Move the bar, and write a line after an evaluation."""
    bar.update(record.step - bar.n)
    trained = ""  # before the first step there is no training loss
    if record.step:
        trained = f"train {record.train_loss:.3f}  "
        bar.set_postfix_str(f"loss {record.train_loss:.3f}, {record.tokens_per_s:,.0f} tokens/s", refresh=False)
    if record.val_loss is not None:
        bar.write(
            f"step {record.step:5d}  {trained}val {record.val_loss:.3f} nats/token = "
            f"{bits_per_byte(record.val_loss, loader.val_bytes_per_token):.3f} bits/byte  "
            f"{above_floor(record, loader.floor)}{record.elapsed:.0f} s",
            file=sys.stdout,
        )


def train(trainer: Trainer, out: Path, saved: list[Path]) -> list[Path]:
    """Run to the end or to Ctrl-C, saving at each evaluation.

    saved: checkpoints that this training has written; the newest two of them stay, and the one with the lowest
    validation loss. Returns those that stay.
    """
    total = trainer.config.max_iters
    bar = tqdm(total=total, initial=trainer.step, unit="step", dynamic_ncols=True, file=sys.stdout)
    best = lowest = None
    with writing(out), bar:
        for record in trainer.run():
            report(bar, record, trainer.loader)
            if record.val_loss is not None and record.step:
                saved.append(trainer.save(out))
                if lowest is None or record.val_loss < lowest:
                    lowest, best = record.val_loss, saved[-1]
                saved = keep_newest(saved, also=best)
        if trainer.interrupted:
            with runtime.hold_interrupts(deliver=False):  # a second Ctrl-C must not cut off the save
                saved.append(trainer.save(out))
    return saved


def verdict(history: list[Record], last: Path) -> tuple[str, Path]:
    """Whether the model has learned the text or only knows it by heart, and the checkpoint to generate with.

    last: the newest checkpoint; the one with the lowest validation loss is in the same folder, unless that was step 0.
    """
    evaluated = [record for record in history if record.val_loss is not None]
    losses = [record.train_loss for record in history[-20:] if record.train_loss is not None]
    if not evaluated or not losses:
        return "", last
    lowest, end = min(evaluated, key=lambda record: record.val_loss), evaluated[-1]
    advice = "the model learned the text by heart. More text or fewer steps do better"
    best = last.with_name(f"step-{lowest.step:06d}")
    if end.val_loss > lowest.val_loss + NOISE:
        at = best.name if lowest.step else "step 0, before any training"
        where = f"The validation loss was lowest at {at}, {lowest.val_loss:.3f}, and {end.val_loss:.3f} at the end: "
        return (f"{where}{advice}; {best.name} is kept.", best) if best.exists() else (f"{where}{advice}.", last)
    if fmean(losses) < BY_HEART * end.val_loss:
        numbers = f"The training loss is {fmean(losses):.3f} and the validation loss {end.val_loss:.3f}"
        return f"{numbers}: {advice}.", last
    where = "at the end" if end is lowest else f"at step {lowest.step}, and is hardly higher at the end"
    return f"The validation loss was lowest {where}, {end.val_loss:.3f}: the model did not overfit.", last


def run(arguments: list[str] | None):
    trainer, out, saved = start(parse(arguments))
    first_step = trainer.step
    print(describe(trainer), flush=True)
    saved = train(trainer, out, saved)
    if trainer.interrupted:
        print(f"Stopped at step {trainer.step}. Go on with: {command_line('train', '--resume', out)}")
    if trainer.step == first_step:
        print("Nothing was left to train.")
    sentence, hear = verdict(trainer.history, saved[-1])
    if sentence:
        print(sentence)
    print(f"Saved to {saved[-1]}. Hear it: {command_line('generate', '--checkpoint', hear)}")


def main(arguments: list[str] | None = None) -> int:
    return run_command(lambda: run(arguments))
