"""Train a model from the command line: python -m foundry_lib train --data my_text.txt --preset tiny --steps 1500"""

import argparse
import math
import signal
import sys
import time
from pathlib import Path

from tqdm import tqdm

from .. import runtime
from ..config import PRESETS, TrainConfig
from ..errors import FoundryError
from ..files import writing
from ..tales.floor import FREE
from ..text.baselines import bits_per_byte, reference_lines
from ..training.checkpoint import checkpoints, keep_newest
from ..training.recipes import new_trainer
from ..training.trainer import Record, Trainer


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m foundry_lib train", description="Train a small language model.")
    parser.add_argument(
        "--data", default="tales-en", help="a UTF-8 text file, or a built-in text (default: %(default)s)"
    )
    parser.add_argument("--preset", default="tiny", choices=PRESETS, help="size of the model (default: %(default)s)")
    fits = "(default: what suits the text)"
    parser.add_argument("--steps", type=int, default=None, help=f"optimizer steps {fits}")
    parser.add_argument("--batch-size", type=int, default=None, help=f"rows in a batch {fits}")
    parser.add_argument("--block-size", type=int, default=None, help=f"tokens in a row {fits}")
    parser.add_argument("--vocab-size", type=int, default=None, help=f"pieces of the tokenizer {fits}")
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
    """The options; with --resume only --device may stand beside it, as the checkpoint holds all the others."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
    others = sorted(set(given) - {"resume", "device"})
    if args.resume and others:
        parser.error(f"--resume goes on with the settings of its checkpoint; leave out --{others[0].replace('_', '-')}")
    return args


def describe(trainer: Trainer) -> str:
    """Configuration, data and model, and the losses to compare with."""
    model, loader, config = trainer.model.config, trainer.loader, trainer.config
    parts = ", ".join(f"{name} {count:,}" for name, count in model.params_by_part.items() if count)
    lines = "\n".join(
        f"  {name:<12} {nats:.3f} nats/token   {bits_per_byte(nats, loader.val_bytes_per_token):.3f} bits/byte"
        for name, nats in reference_lines(loader).items()
    )
    tied = " (a tied head prefers some pieces from the start, so the first loss lies above ln V)"
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
    """For tales, how far the loss is above the floor, and the rule of which most is owed."""
    if record.excess is None:
        return ""
    hardest = max(set(record.owed) - {FREE}, key=record.owed.get)
    return (
        f"{record.excess / floor.nats:.1%} above the floor, most of all {hardest} ({record.owed[hardest]:.2f} nats)  "
    )


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    sys.stdout.reconfigure(errors="replace")  # a terminal that cannot print a character shows a ? instead
    try:
        device = runtime.usable_device(args.device)
        print(runtime.describe(device), flush=True)
        if args.resume:
            found = checkpoints(args.resume)
            if not found:
                raise FoundryError(f"There is no checkpoint in {args.resume}; start one without --resume.")
            trainer, out, mine = Trainer.load(found[-1], device=device), found[-1].parent, [found[-1]]
            print(f"Going on from {found[-1]}")
        else:
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
            mine = []  # checkpoints that this training wrote; of these alone the older ones are removed
            out = args.out or Path("runs") / f"{Path(args.data).stem}-{args.preset}-{time.strftime('%Y%m%d-%H%M%S')}"
        first_step = trainer.step
        print(describe(trainer), flush=True)
        bar = tqdm(
            total=trainer.config.max_iters, initial=trainer.step, unit="step", dynamic_ncols=True, file=sys.stdout
        )
        val, lowest, best = math.nan, math.inf, None
        with writing(out), bar:
            for record in trainer.run():
                bar.update(record.step - bar.n)
                trained = ""  # before the first step there is no training loss
                if record.step:
                    trained = f"train {record.train_loss:.3f}  "
                    bar.set_postfix_str(
                        f"loss {record.train_loss:.3f}, {record.tokens_per_s:,.0f} tokens/s", refresh=False
                    )
                if record.val_loss is not None:
                    val = record.val_loss
                    bar.write(
                        f"step {record.step:5d}  {trained}val {val:.3f} nats/token = "
                        f"{bits_per_byte(val, trainer.loader.val_bytes_per_token):.3f} bits/byte  "
                        f"{above_floor(record, trainer.loader.floor)}{record.elapsed:.0f} s",
                        file=sys.stdout,
                    )
                    if record.step:
                        mine.append(trainer.save(out))
                        if val < lowest:
                            lowest, best = val, mine[-1]
                        mine = keep_newest(mine, also=best)
        if trainer.interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C shall not cut off the save
            mine.append(trainer.save(out))
            print(f"Stopped at step {trainer.step}. Go on with: python -m foundry_lib train --resume {out}")
        if trainer.step == first_step:
            print("Nothing was left to train.")
        hear = mine[-1]
        if val > lowest + 0.02:  # less is noise
            hear = best
            print(
                f"The validation loss was lowest at {best.name}, {lowest:.3f}, and {val:.3f} at the end: the "
                f"model learned the text by heart. More text or fewer steps do better; {best.name} is kept."
            )
        print(f"Saved to {mine[-1]}. Hear it: python -m foundry_lib generate --checkpoint {hear}")
    except KeyboardInterrupt as stop:  # outside `run`, which ends at a step by itself
        print(f"\n{str(stop) or 'Stopped.'}", file=sys.stderr)
        return 130  # as a shell says it
    except FoundryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
