"""One line of a training's history."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """The numbers of one step. Losses are in nats per token, times in seconds.

    train_loss: of the step's batch, before its update; None at step 0, where nothing has been trained.
    val_loss: None between evaluations. lr: the learning rate of the update. grad_norm: before clipping.
    elapsed: of all steps so far and the evaluations after them, over all resumes; the evaluation before the first step
        and the caller's own work between two records do not count. remaining: an estimate; None at step 0.
    excess, owed: for tales, in an evaluation: the loss above the floor, in all and by rule (`tales.Floor.by_rule`).
    """

    step: int
    train_loss: float | None
    val_loss: float | None
    lr: float
    grad_norm: float
    tokens_per_s: float
    elapsed: float
    remaining: float | None
    excess: float | None = None
    owed: dict[str, float] | None = None


# The order in which checkpoints once listed a record's values without their names.
UNNAMED = "step train_loss val_loss lr grad_norm tokens_per_s elapsed remaining excess owed".split()


def saved_record(values: dict | list) -> Record:
    """The record that a checkpoint holds: values by name, or, in old checkpoints, a list in the order of UNNAMED.

    Raises TypeError or ValueError when names are missing or unknown.

    >>> saved_record([3, 2.5, None, 0.001, 1.0, 9000.0, 0.5, 1.5, None, None]).train_loss
    2.5
    """
    return Record(**(values if isinstance(values, dict) else dict(zip(UNNAMED, values, strict=True))))
