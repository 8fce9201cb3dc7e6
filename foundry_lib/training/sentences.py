"""What a person reads about a training that runs, has stopped, or has ended."""

from ..errors import FoundryError


def status(trainer, how: str = "call run() again") -> str:
    """One sentence: the step that the training has reached, and how to go on."""
    total = trainer.config.max_iters
    if trainer.step >= total:
        return f"Finished: {trainer.step} steps in {trainer.elapsed:.0f} s."
    state = "Stopped" if trainer.interrupted else "Standing"
    return f"{state} at step {trainer.step} of {total}; {how} to go on from here."


def check_ended(trainer):
    """Raise FoundryError unless all steps are done. Lessons call it before they read the final loss."""
    if trainer.step < trainer.config.max_iters:
        raise FoundryError(
            f"This looks at the end of a training of {trainer.config.max_iters} steps, which stands at step "
            f"{trainer.step}. Let the training go on from there, to its last step, and then run this again."
        )
