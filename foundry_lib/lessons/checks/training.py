"""Exercises of lessons 07 and 10: the loss, the training step, the learning rate, and (10) gradient accumulation.

The step is judged with a small model of this file and plain gradient descent, so that each mistake shows in the
weights. Three steps follow each other, each with its own batch and learning rate.
"""

import math
import weakref
import zlib
from functools import wraps

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from .ladder import Exercise, describe, ordinal

IGNORED = -100


# ---- The loss


def loss_case(B, T, V, ignored=0, scale=1.0):
    g = torch.Generator().manual_seed(100 * B + 10 * T + V)
    y = torch.randint(V, (B, T), generator=g)
    if ignored:  # the ends of the first rows
        for row in range(B - 1):
            y[row, T - ignored + row % ignored :] = IGNORED
    return {"logits": scale * torch.randn(B, T, V, generator=g), "y": y}


LOSS_CASES = [
    loss_case(2, 3, 5),
    loss_case(3, 4, 7, ignored=2, scale=2.0),
    loss_case(4, 6, 3, ignored=3, scale=20.0),
    loss_case(5, 2, 4, scale=200.0),  # losses above 103, where a probability in 32 bits is 0
]


def prices(logits, y):
    """The loss −ln p at every target, 0 where there is no target."""
    V = logits.shape[-1]
    marked = one_hot(y.clamp(min=0), V).to(logits) * (y != IGNORED)[..., None]
    return -(torch.log_softmax(logits, -1) * marked).sum(-1)


def mean_price(logits, y):
    return prices(logits, y).sum() / (y != IGNORED).sum()


def mean_of(scores, y):
    """The mean of −scores at the targets."""
    marked = one_hot(y.clamp(min=0), scores.shape[-1]) * (y != IGNORED)[..., None]
    return -(scores * marked).sum() / (y != IGNORED).sum()


mean_loss = Exercise(
    "mean_loss",
    "my_loss(logits, y) → nats a target, a number",
    LOSS_CASES,
    mean_price,
)


@mean_loss.mistake
def mean_over_all_positions(logits, y):
    """The sum was divided by all places, also those without a target (−100). How many targets are there?"""
    return prices(logits, y).mean()


@mean_loss.mistake
def ignored_targets_taken_as_token_zero(logits, y):
    """Places that have no target were charged as if piece 0 were wanted there. Which value of y says that there is
    none?"""
    return mean_price(logits, y.clamp(min=0))


@mean_loss.mistake
def softmax_taken_twice(logits, y):
    """It looks as if a softmax had been taken of probabilities, so that even a sure guess pays. What does
    cross_entropy expect, scores or probabilities?"""
    return mean_price(logits.softmax(-1), y)


@mean_loss.mistake
def sign_reversed(logits, y):
    """It has the wrong sign: it falls as the model gets worse."""
    return -mean_price(logits, y)


@mean_loss.mistake
def losses_summed(logits, y):
    """The whole batch was added up, so that a larger batch has a larger loss."""
    return prices(logits, y).sum()


@mean_loss.mistake
def mean_of_the_row_means(logits, y):
    """Each row was averaged for itself first, so that a target in a short row weighs more than one in a long row."""
    return (prices(logits, y).sum(1) / (y != IGNORED).sum(1)).mean()


@mean_loss.mistake
def loss_in_bits(logits, y):
    """It counts in bits. To which base is the logarithm of a nat?"""
    return mean_price(logits, y) / math.log(2)


@mean_loss.mistake
def loss_to_base_ten(logits, y):
    """It is too small by the factor ln 10: the logarithm has the base 10. Which base has the logarithm of a nat?"""
    return mean_price(logits, y) / math.log(10)


@mean_loss.mistake
def targets_moved_once_more(logits, y):
    """Each position was compared with the target of the next one. The loader has moved y already: what does y[b, t]
    hold?"""
    return mean_price(logits[:, :-1], y[:, 1:])


@mean_loss.mistake
def always_token_zero(logits, y):
    """y changes nothing: each position was asked for token 0. Which token is the right answer at [b, t]?"""
    return -logits.log_softmax(-1)[..., 0].mean()


@mean_loss.mistake
def exponentials_overflow(logits, y):
    """Large scores give NaN or infinity: their exponentials do not fit into 32 bits. What does log_softmax subtract
    first?"""
    return mean_of((logits.exp() / logits.exp().sum(-1, keepdim=True)).log(), y)


@mean_loss.mistake
def probabilities_underflow(logits, y):
    """A wrong guess that was sure costs infinity: its probability is 0 in 32 bits, and the logarithm of 0 is −∞. Which
    function takes softmax and logarithm in one step?"""
    kept = y != IGNORED
    return -logits[kept].softmax(-1).log().gather(-1, y[kept][:, None]).mean()


@mean_loss.mistake
def rows_and_positions_flattened_apart(logits, y):
    """Scores and targets were flattened in different orders, so that scores met the targets of other positions. In
    which order does `flatten` read (B, T)?"""
    return mean_price(logits.transpose(0, 1).reshape(logits.shape), y)


@mean_loss.mistake
def last_row_only(logits, y):
    """The targets of the last row alone were priced. How many rows has the batch?"""
    return mean_price(logits[-1:], y[-1:])


@mean_loss.mistake
def logarithm_of_the_mean_probability(logits, y):
    """It is the logarithm of the mean probability. What is averaged, the probabilities or their prices?"""
    counted = y != IGNORED
    return -((-prices(logits, y)).exp() * counted).sum().div(counted.sum()).log()


@mean_loss.mistake
def scores_averaged_without_softmax(scores, y):
    """The scores themselves were averaged, without a softmax: nothing makes them sum to 1."""
    return mean_of(scores, y)


@mean_loss.mistake
def softmax_over_positions(logits, y):
    """The softmax ran over the places of a row instead of the pieces. Which axis of (B, T, V) are the choices?"""
    return mean_of(torch.log_softmax(logits, 1), y)


@mean_loss.mistake
def softmax_over_the_batch(logits, y):
    """The softmax ran over the rows of the batch, so that tales compete with each other. Between which of the scores
    is the choice?"""
    return mean_of(torch.log_softmax(logits, 0), y)


@mean_loss.mistake
def softmax_over_positions_with_targets(logits, y):
    """The softmax ran down the places that have a target, one piece at a time. Which axis holds the choices of one
    place?"""
    counted = y != IGNORED
    return -logits[counted].log_softmax(0).gather(-1, y[counted][:, None]).mean()


@mean_loss.mistake
def every_target_at_every_position(logits, y):
    """Each place was charged for the targets of all places. How many of the picked numbers belong to one place?"""
    counted = y != IGNORED
    return -logits[counted].log_softmax(-1)[:, y[counted]].mean()


@mean_loss.mistake
def mean_probability(logits, y):
    """It is the mean probability of the right pieces, and not yet a price. What does −ln do to it?"""
    return -mean_of(logits.softmax(-1), y)


# ---- The step


class SmallModel(nn.Module):
    """The parts of a MiniLLM that a step uses: model(ids) → (scores, None), model(ids, targets) → (scores, loss)."""

    def __init__(self, vocab_size, dim=6):
        super().__init__()
        self.embedding, self.output = nn.Embedding(vocab_size, dim), nn.Linear(dim, vocab_size, bias=False)
        for name, p in self.named_parameters():
            g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            p.data = torch.randn(p.shape, generator=g)
        self.readings, self.open, self.most_open = [], weakref.WeakSet(), 0

    def forward(self, idx, targets=None):
        logits = self.noted(self.output(torch.tanh(self.embedding(idx)).cumsum(1)))
        return logits, None if targets is None else cross_entropy(logits.flatten(0, 1), targets.flatten())

    def loss(self, idx, targets):
        return self(idx, targets)[1]

    def noted(self, logits):
        """Note the rows of each call, and the most rows that waited for backward at one time."""
        if not logits.requires_grad:
            return logits
        reading = Reading(len(logits))
        self.readings.append(reading.rows)
        self.open.add(reading)
        self.most_open = max(self.most_open, sum(open_reading.rows for open_reading in self.open))
        return Noted.apply(logits, reading, self.open)


class Reading:
    """One call of a model. It lives as long as the tensors that autograd stores for backward."""

    def __init__(self, rows):
        self.rows = rows


class Noted(torch.autograd.Function):
    """Returns its input. When backward runs through it, the call is no longer open."""

    @staticmethod
    def forward(ctx, logits, reading, still_open):
        ctx.reading, ctx.still_open = reading, still_open
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx, gradient):
        ctx.still_open.discard(ctx.reading)
        return gradient, None, None


def updates(case):
    """A case in words. The first axis of x and y counts the updates; the learner's function gets one at a time."""
    update = {name: value[0] if name in ("x", "y") else value for name, value in case.items()}
    return f"{len(case['x'])} updates, each {describe(update)}"


def loss_or_weights(number, case):
    """The name of value `number`, from 1, of those that `run_steps` or `run_pieces` returns."""
    matrix = number - len(case["x"])
    return f"the loss of update {number}" if matrix <= 0 else f"the {ordinal(matrix)} matrix after the last update"


def step_case(B, T, V, lrs, grad_clip):
    g = torch.Generator().manual_seed(B + 10 * T + V)
    rows = torch.randint(V, (len(lrs), B, T + 1), generator=g)
    y = rows[:, :, 1:].clone()
    y[1, 0, T // 2 :] = IGNORED
    return {"x": rows[:, :, :-1].clone(), "y": y, "lrs": lrs, "grad_clip": grad_clip}


STEP_CASES = [
    step_case(2, 4, 5, [0.1, 0.3, 0.05], 0.5),
    step_case(3, 5, 7, [0.02, 0.4, 0.2], 1.5),
    step_case(4, 2, 9, [0.3, 0.1, 0.2, 0.4], 100.0),
]


def run_steps(work, case):
    """Run three or four steps. Returns what each step returned, and the weights at the end."""
    model = SmallModel(int(case["x"].max()) + 2)
    decayed = {"params": [model.embedding.weight], "weight_decay": 0.1}
    optimizer = torch.optim.SGD([decayed, {"params": [model.output.weight]}], lr=0.7)  # two groups, as a Trainer has
    losses = []
    for x, y, lr in zip(case["x"], case["y"], case["lrs"], strict=True):
        loss = work(model, optimizer, x, y, lr, case["grad_clip"])
        if loss is None or loss is Ellipsis:
            return loss
        losses.append(loss)
    return [*losses, *(p.detach() for p in model.parameters())]


def plain_step(model, optimizer, x, y, lr, grad_clip, decay=True):
    """The reference: clip and update every weight by hand, without optimizer.step and torch's clipping."""
    weights, decays = zip(*((w, g["weight_decay"]) for g in optimizer.param_groups for w in g["params"]), strict=True)
    _, loss = model(x, y)
    gradients = torch.autograd.grad(loss, weights)
    size = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))
    factor = min(1.0, grad_clip / (size + 1e-6))
    with torch.no_grad():
        for weight, gradient, share in zip(weights, gradients, decays, strict=True):
            weight -= lr * (factor * gradient + decay * share * weight)
    return loss.item()


def steps_in_order(given, *order, price=None):
    """A step that does only the named things, in this order. given: the arguments of the step."""
    model, optimizer, x, y, lr, grad_clip = given
    loss = price(model, x, y) if price else model(x, y)[1]
    do = {
        "rate": lambda: [group.update(lr=lr) for group in optimizer.param_groups],
        "one rate": lambda: optimizer.param_groups[0].update(lr=lr),
        "rate below zero": lambda: [group.update(lr=-lr) for group in optimizer.param_groups],
        "empty": optimizer.zero_grad,
        "backward": loss.backward,
        "backward of minus": lambda: (-loss).backward(),
        "clip": lambda: nn.utils.clip_grad_norm_(model.parameters(), grad_clip),
        "value": lambda: nn.utils.clip_grad_value_(model.parameters(), grad_clip),
        "each": lambda: [nn.utils.clip_grad_norm_(p, grad_clip) for p in model.parameters()],
        "always": lambda: (
            nn.utils.clip_grad_norm_(model.parameters(), grad_clip).div(grad_clip).clamp(max=1)
            and scale_up(model, grad_clip)
        ),
        "times size": lambda: [p.grad.mul_(x.numel()) for p in model.parameters()],
        "step": optimizer.step,
    }
    for name in order:
        do[name]()
    return loss.item()


def scale_up(model, size):
    """Scale the gradient to the norm `size`."""
    gradients = [p.grad for p in model.parameters()]
    norm = math.sqrt(sum(g.pow(2).sum().item() for g in gradients))
    for g in gradients:
        g.mul_(size / norm)


def softmax_first(model, x, y):
    return cross_entropy(model(x)[0].softmax(-1).flatten(0, 1), y.flatten())


def repeating(model, x, y):
    """A step whose targets are the input tokens themselves."""
    return model(x, torch.where(y == IGNORED, y, x))[1]


def padding_counted(model, x, y):
    losses = cross_entropy(model(x)[0].flatten(0, 1), y.flatten(), reduction="none")
    return losses.mean()


def summed(model, x, y):
    return cross_entropy(model(x)[0].flatten(0, 1), y.flatten(), reduction="sum")


ALL = ("rate", "empty", "backward", "clip", "step")


def scaled_rate(optimizer, lr):
    """Multiply the rate of each group by lr, and return it."""
    for group in optimizer.param_groups:
        group["lr"] *= lr
    return optimizer.param_groups[0]["lr"]


train_step = Exercise(
    "train_step",
    "my_train_step(model, optimizer, x, y, lr, grad_clip) → the batch's loss, a number",
    STEP_CASES,
    plain_step,
    run=run_steps,
    case_in_words=updates,
    value_name=loss_or_weights,
)


@train_step.mistake
def gradients_never_emptied(*given):
    """The first step is right, and each later one is pushed by the gradients of all the steps before it. What does
    backward do to numbers that are already in .grad?"""
    return steps_in_order(given, "rate", "backward", "clip", "step")


@train_step.mistake
def gradients_emptied_after_backward(*given):
    """The weights never move, though the losses are right: either .grad was empty when the optimizer looked, or
    nobody asked it to move them. In which order stand your lines?"""
    return steps_in_order(given, "rate", "backward", "empty", "clip", "step")


@train_step.mistake
def step_before_backward(*given):
    """Each step moves the weights by the gradient of the batch before. In which order do backward and step come?"""
    return steps_in_order(given, "rate", "clip", "step", "empty", "backward")


@train_step.mistake
def learning_rate_not_set(*given):
    """Every step had the learning rate that the optimizer was made with, 0.7. What is lr for?"""
    return steps_in_order(given, "empty", "backward", "clip", "step")


@train_step.mistake
def learning_rate_set_after_the_step(*given):
    """Each step used the learning rate of the step before it. When does an optimizer read its lr?"""
    return steps_in_order(given, "empty", "backward", "clip", "step", "rate")


@train_step.mistake
def learning_rate_multiplied(model, optimizer, x, y, lr, grad_clip):
    """lr was multiplied with the learning rate that the group had. Which rate should the group have in this step?"""
    return plain_step(model, optimizer, x, y, scaled_rate(optimizer, lr), grad_clip)


@train_step.mistake
def inputs_taken_as_targets(*given):
    """The model was asked to repeat x. Which tokens are the right answers?"""
    return steps_in_order(given, *ALL, price=lambda model, x, y: model(x, x)[1])


@train_step.mistake
def mean_of_the_logits_as_the_loss(*given):
    """The loss has nothing to do with y: it is the mean of the logits. Which of the two results of the model is the
    loss?"""
    return steps_in_order(given, *ALL, price=lambda model, x, y: model(x, y)[0].mean())


@train_step.mistake
def neither_emptied_nor_clipped(*given):
    """Two lines are missing: gradients of earlier steps are still in .grad, and nothing shortens a long gradient."""
    return steps_in_order(given, "rate", "backward", "step")


@train_step.mistake
def neither_rate_nor_clip(*given):
    """Two arguments change nothing: `lr` and `grad_clip`. Which lines should use them?"""
    return steps_in_order(given, "empty", "backward", "step")


@train_step.mistake
def new_optimizer_each_time(model, optimizer, x, y, lr, grad_clip):
    """The weights were moved by another optimizer, so the weight decay of the one that was given is lost, and its
    memory too. Who should move them?"""
    fresh = torch.optim.AdamW(model.parameters(), lr=lr)
    return steps_in_order((model, fresh, x, y, lr, grad_clip), *ALL)


@train_step.mistake
def gradients_not_clipped(*given):
    """Where the gradient was longer than grad_clip, the weights moved too far: nothing shortened it before they
    moved."""
    return steps_in_order(given, "rate", "empty", "backward", "step")


@train_step.mistake
def gradients_clipped_by_value(*given):
    """Each single number of the gradient was cut off, which turns its direction. What has a norm, a number or all of
    them together?"""
    return steps_in_order(given, "rate", "empty", "backward", "value", "step")


@train_step.mistake
def clipped_to_length_one(model, optimizer, x, y, lr, grad_clip):
    """The gradient was shortened to the length 1, whatever `grad_clip` is. What is the argument for?"""
    return steps_in_order((model, optimizer, x, y, lr, 1.0), *ALL)


@train_step.mistake
def gradient_of_the_summed_loss(model, optimizer, x, y, lr, grad_clip):
    """The gradient is that of the sum over all positions, so it is longer than that of the mean. Which of the two does
    the model return as its loss?"""
    return steps_in_order(
        (model, optimizer, x, y, lr, grad_clip / x.numel()), "rate", "empty", "backward", "clip", "times size", "step"
    )


@train_step.mistake
def learning_rate_per_sequence(model, optimizer, x, y, lr, grad_clip):
    """The learning rate was divided by the number of sequences. The loss is a mean already: what is lr meant for?"""
    return steps_in_order((model, optimizer, x, y, lr / len(x), grad_clip), *ALL)


@train_step.mistake
def each_matrix_clipped_alone(*given):
    """Each matrix was clipped for itself, so that the long ones were shortened against the short ones."""
    return steps_in_order(given, "rate", "empty", "backward", "each", "step")


@train_step.mistake
def gradients_always_scaled_to_the_clip(*given):
    """A gradient shorter than grad_clip was made longer. What should happen to a short one?"""
    return steps_in_order(given, "rate", "empty", "backward", "always", "step")


@train_step.mistake
def learning_rate_of_the_first_group_only(*given):
    """Only the first group of weights got lr, the other kept the rate that the optimizer was made with. How long is
    the list of groups?"""
    return steps_in_order(given, "one rate", "empty", "backward", "clip", "step")


@train_step.mistake
def weight_decay_lost(model, optimizer, x, y, lr, grad_clip):
    """The weights moved by lr times their gradient and by nothing else, so the weight decay of the optimizer's
    groups is lost. Who should move them?"""
    return plain_step(model, optimizer, x, y, lr, grad_clip, decay=False)


@train_step.mistake
def backward_of_minus_the_loss(*given):
    """It went uphill: the weights moved along the gradient. Which way does the loss fall?"""
    return steps_in_order(given, "rate", "empty", "backward of minus", "clip", "step")


@train_step.mistake
def learning_rate_negated(*given):
    """The rate has a minus, so the weights went uphill. Who takes away, your line or the optimizer?"""
    return steps_in_order(given, "rate below zero", "empty", "backward", "clip", "step")


@train_step.mistake
def loss_after_the_step(model, optimizer, x, y, lr, grad_clip):
    """The loss is that of the batch when it has already been learned from. Which forward pass gives it?"""
    plain_step(model, optimizer, x, y, lr, grad_clip)
    return model(x, y)[1].item()


@train_step.mistake
def softmax_before_cross_entropy(*given):
    """The scores went through a softmax before cross_entropy, which takes one itself: the gradients are too small."""
    return steps_in_order(given, *ALL, price=softmax_first)


@train_step.mistake
def targets_are_the_inputs(*given):
    """The model was asked for the token that it reads. On the tales such a loss falls below the floor, where no
    honest one can be. Which of x and y is one token ahead?"""
    return steps_in_order(given, *ALL, price=repeating)


@train_step.mistake
def ignored_targets_in_the_mean(*given):
    """Places without a target (−100) made the mean smaller. Over how many targets is it taken?"""
    return steps_in_order(given, *ALL, price=padding_counted)


@train_step.mistake
def batch_losses_summed(*given):
    """The losses of a batch were added up, so that gradients grow with the size of a batch."""
    return steps_in_order(given, *ALL, price=summed)


@train_step.mistake
def two_steps_per_batch(*given):
    """Two updates were made with one batch. How often does the loop call the optimizer?"""
    return steps_in_order(given, *ALL, "step")


@train_step.mistake
def backward_run_twice(model, optimizer, x, y, lr, grad_clip):
    """backward ran twice, once more than there are losses, and the second gradient was added to the first."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    for _ in range(2):
        loss = model(x, y)[1]
        loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


# ---- The learning rate along a training


def rate_case(step, peak, warmup, total, lowest):
    return {"step": step, "peak": peak, "warmup": warmup, "total": total, "lowest": lowest}


RATE_CASES = [
    rate_case(0, 2.0, 10, 110, 0.1),
    rate_case(7, 3.0, 10, 110, 0.05),
    rate_case(9, 1.5, 10, 210, 0.2),
    rate_case(10, 1.5, 10, 210, 0.2),
    rate_case(60, 4.0, 20, 120, 0.25),
    rate_case(100, 2.5, 20, 140, 0.1),
    rate_case(159, 2.0, 5, 160, 0.3),
    rate_case(3, 1.7, 0, 40, 0.15),
]


def scheduled(step, peak, warmup, total, lowest):
    """The reference: the cosine of an angle that goes through half a turn."""
    if step < warmup:
        return peak * (step + 1) / warmup
    angle = math.pi * (step - warmup) / (total - warmup)
    return peak * lowest + (peak - peak * lowest) * math.cos(angle / 2) ** 2


def fall(shape):
    """A schedule with the right warm-up whose fall is peak · shape(done, lowest)."""

    @wraps(shape)
    def rate(step, peak, warmup, total, lowest):
        if step < warmup:
            return peak * (step + 1) / warmup
        return peak * shape((step - warmup) / (total - warmup), lowest)

    return rate


def warm(shape):
    """A schedule with the right fall whose warm-up is `shape(step, warmup, lowest)` of the peak."""

    @wraps(shape)
    def rate(step, peak, warmup, total, lowest):
        if step < warmup:
            return peak * shape(step, warmup, lowest)
        return scheduled(step, peak, warmup, total, lowest)

    return rate


def half_cosine(done):
    return (1 + math.cos(math.pi * done)) / 2


def counted(done):
    """A schedule with the right warm-up and the right curve, along a share done(step, warmup, total) of its own."""

    @wraps(done)
    def rate(step, peak, warmup, total, lowest):
        if step < warmup:
            return peak * (step + 1) / warmup
        return peak * (lowest + (1 - lowest) * half_cosine(done(step, warmup, total)))

    return rate


learning_rate = Exercise(
    "learning_rate",
    "my_learning_rate(step, peak, warmup, total, lowest) → a number",
    RATE_CASES,
    scheduled,
)


@learning_rate.mistake
@warm
def warmup_starts_at_zero(step, warmup, lowest):
    """Step 0 has a learning rate of 0, so that its batch teaches nothing. The steps are counted from 0: which share
    of the warm-up is done in the first one?"""
    return step / warmup


@learning_rate.mistake
@warm
def warmup_divided_by_one_more(step, warmup, lowest):
    """The warm-up ends one step too late and just misses the peak. By what is step + 1 divided?"""
    return (step + 1) / (warmup + 1)


@learning_rate.mistake
def warmup_one_step_too_long(step, peak, warmup, total, lowest):
    """The first step behind the warm-up is above the peak: it still counted as warming up. Which is the last step of
    it?"""
    return peak * (step + 1) / warmup if step <= warmup and warmup else scheduled(step, peak, warmup, total, lowest)


@learning_rate.mistake
@warm
def no_warmup(step, warmup, lowest):
    """There is no warm-up: the first steps have the full rate."""
    return 1.0


@learning_rate.mistake
@warm
def warmup_starts_at_lowest(step, warmup, lowest):
    """The warm-up begins at the lowest rate and not near 0."""
    return lowest + (1 - lowest) * (step + 1) / warmup


@learning_rate.mistake
@fall
def linear_decay(done, lowest):
    """It falls along a straight line. Which curve is flat at both ends?"""
    return lowest + (1 - lowest) * (1 - done)


@learning_rate.mistake
@fall
def decay_to_zero(done, lowest):
    """It falls all the way to 0. What is `lowest` a share of?"""
    return half_cosine(done)


@learning_rate.mistake
@fall
def lowest_added_to_the_full_curve(done, lowest):
    """Right behind the warm-up the rate is above its peak: lowest was added to a curve that has the full height
    already."""
    return lowest + half_cosine(done)


@learning_rate.mistake
@fall
def curve_cut_off_at_lowest(done, lowest):
    """The curve was cut off at the lowest rate, with a kink. How high is the curve that should fit between lowest
    and 1?"""
    return max(lowest, half_cosine(done))


@learning_rate.mistake
@fall
def cosine_below_zero(done, lowest):
    """The cosine went below zero and was not halved. Between which numbers does a cosine run?"""
    return lowest + (1 - lowest) * math.cos(math.pi * done)


@learning_rate.mistake
@fall
def one_plus_cosine_not_halved(done, lowest):
    """Right behind the warm-up the rate is nearly twice its peak. How high is 1 + cos where it begins?"""
    return lowest + (1 - lowest) * 2 * half_cosine(done)


@learning_rate.mistake
@fall
def angle_in_degrees(done, lowest):
    """It goes up and down many times: the half turn was written in degrees. In which unit does math.cos count?"""
    return lowest + (1 - lowest) * half_cosine(180 * done / math.pi)


@learning_rate.mistake
@fall
def whole_turn(done, lowest):
    """It falls and rises again: a whole turn. How far must the angle go?"""
    return lowest + (1 - lowest) * half_cosine(2 * done)


@learning_rate.mistake
@fall
def quarter_turn(done, lowest):
    """Only a quarter of a turn: the fall is steepest at its very end."""
    return lowest + (1 - lowest) * math.cos(math.pi / 2 * done)


@learning_rate.mistake
@fall
def angle_without_pi(done, lowest):
    """It falls by less than a quarter of the way: the angle ends at 1 and not at half a turn. How many radians are
    half a turn?"""
    return lowest + (1 - lowest) * (1 + math.cos(done)) / 2


@learning_rate.mistake
@fall
def quarter_of_a_sine(done, lowest):
    """It falls fastest at once and is flat only at the end: a quarter of a sine. Which curve is flat at both ends?"""
    return lowest + (1 - lowest) * (1 - math.sin(math.pi * done / 2))


@learning_rate.mistake
def straight_line_to_a_rate(step, peak, warmup, total, lowest):
    """It falls along a straight line, and down to `lowest` itself instead of a share of the peak. Which curve does the
    formula have?"""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak - (peak - lowest) * (step - warmup) / (total - warmup)


@learning_rate.mistake
@fall
def decay_upside_down(done, lowest):
    """It rises where it should fall. What is half the cosine plus a half when nothing is done yet?"""
    return lowest + (1 - lowest) * (1 - half_cosine(done))


@learning_rate.mistake
@counted
def decay_counted_from_step_zero(step, warmup, total):
    """The fall is counted from step 0, so that it has already begun when the warm-up ends."""
    return step / total


@learning_rate.mistake
@counted
def decay_as_long_as_the_training(step, warmup, total):
    """The fall takes as long as the whole training and is not finished at its end. How many steps are left after the
    warm-up?"""
    return (step - warmup) / total


@learning_rate.mistake
@counted
def decay_one_step_too_short(step, warmup, total):
    """The fall is one step too short: its last step has done all of it already. How many steps are there from the
    warm-up to total?"""
    return (step - warmup) / (total - 1 - warmup)


@learning_rate.mistake
@counted
def decay_one_step_ahead(step, warmup, total):
    """The fall is one step ahead. The first step behind the warm-up has the full rate: which share is done there?"""
    return (step - warmup + 1) / (total - warmup)


@learning_rate.mistake
def lowest_taken_as_a_learning_rate(step, peak, warmup, total, lowest):
    """lowest was taken as a learning rate and not as a share of the peak."""
    return (
        peak * (step + 1) / warmup
        if step < warmup
        else lowest + (peak - lowest) * half_cosine((step - warmup) / (total - warmup))
    )


@learning_rate.mistake
def peak_not_used(step, peak, warmup, total, lowest):
    """It is a share between 0 and 1, whatever the peak is."""
    return scheduled(step, 1.0, warmup, total, lowest)


@learning_rate.mistake
def constant_learning_rate(step, peak, *others):
    """It never changes. Which of the arguments says where the training is?"""
    return peak


# ---- A large batch in small pieces


def pieces_case(B, T, V, parts):
    g = torch.Generator().manual_seed(B + T + V)
    rows = torch.randint(V, (2, B, T + 1), generator=g)
    return {"x": rows[:, :, :-1].clone(), "y": rows[:, :, 1:].clone(), "parts": parts}


PIECES_CASES = [
    pieces_case(4, 3, 5, 2),
    pieces_case(5, 4, 6, 2),
    pieces_case(7, 2, 9, 3),
    pieces_case(8, 3, 6, 4),
    pieces_case(6, 5, 4, 6),
]


def run_pieces(work, case, model=None):
    """Run two updates. Returns what each update returned, and the weights at the end."""
    model = model or small_model(case)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    losses = []
    for x, y in zip(case["x"], case["y"], strict=True):
        loss = work(model, optimizer, x, y, case["parts"])
        if loss is None or loss is Ellipsis:
            return loss
        losses.append(loss)
    return [*losses, *(p.detach() for p in model.parameters())]


def small_model(case):
    return SmallModel(int(case["x"].max()) + 2)


def row_by_row(model, optimizer, x, y, parts):
    """The reference: the mean over the rows by hand, one row at a time, for any number of parts."""
    weights = list(model.parameters())
    total, gradients = 0.0, [torch.zeros_like(weight) for weight in weights]
    for row in range(len(x)):
        loss = model(x[row : row + 1], y[row : row + 1])[1] / len(x)
        gradients = [a + b for a, b in zip(gradients, torch.autograd.grad(loss, weights), strict=True)]
        total += loss.item()
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 0.3 * gradient
    return total


def without_the_rest(x, parts):
    """`parts` pieces of len(x) // parts rows."""
    return x.split(len(x) // parts)[:parts]


def in_pieces(given, share, first="empty", between=None, returned=None, cut=torch.chunk):
    """An update in pieces, with one step of it wrong. given: the arguments of the update.

    share(rows here, rows in all, parts): the weight of a piece. between: what is done after each piece.
    returned(losses, weighted losses): what comes back; the mean over all rows where it is None. cut(x, parts): pieces.
    """
    model, optimizer, x, y, parts = given
    if first == "empty":
        optimizer.zero_grad()
    results = []
    for xs, ys in zip(cut(x, parts), cut(y, parts), strict=True):
        if between == "empty":
            optimizer.zero_grad()
        loss = model(xs, ys)[1]
        weighted = loss * share(len(xs), len(x), parts)
        weighted.backward()
        results.append((loss.item(), weighted.item(), len(xs)))
        if between == "step":
            optimizer.step()
        if between == "step and empty":
            optimizer.step()
            optimizer.zero_grad()
    if between not in ("step", "step and empty", "no step"):
        optimizer.step()
    losses, weighted, rows = zip(*results, strict=True)
    if returned is None:
        return sum(loss * n for loss, n in zip(losses, rows, strict=True)) / len(x)
    return returned(losses, weighted)


def by_rows(here, rows, parts):
    return here / rows


def weighted_sum(losses, weighted):
    return sum(weighted)


# Each text is the message of a property and of a mistake, so it has a name and the mistake has no docstring.
SIZE_FOR_NUMBER = (
    "8 rows in 4 parts were read 4 rows at a time. Is `parts` how many pieces there are, or how many rows one has? And "
    "which of the two does torch's split take?"
)
ONE_READING = (
    "All rows of the batch were read in one call, for which this machine has no memory. How many rows should one call "
    "read?"
)
ALL_KEPT = (
    "More rows than one piece has were in memory at the same time. A loss keeps all that its backward will need: when "
    "may it let go?"
)


def watched(holds):
    """A property of the model's calls: holds(rows of each call, most rows that were open, rows, parts)."""

    def reads_so(work, case):
        model = small_model(case)
        run_pieces(work, case, model)
        return holds(model.readings, model.most_open, case["x"].shape[1], case["parts"])

    return reads_so


def no_size_for_number(readings, most_open, rows, parts):
    """False for pieces of `parts` rows, where that differs from the right size and from the whole batch."""
    cut = [len(piece) for piece in torch.arange(rows).split(parts)]
    return not math.ceil(rows / parts) < cut[0] < rows or readings != cut + cut


accumulation = Exercise(
    "accumulation",
    "my_accumulate(model, optimizer, x, y, parts) → the large batch's loss, a number",
    PIECES_CASES,
    row_by_row,
    {
        SIZE_FOR_NUMBER: watched(no_size_for_number),
        ONE_READING: watched(lambda readings, most_open, rows, parts: max(readings, default=0) < rows),
        ALL_KEPT: watched(lambda readings, most_open, rows, parts: most_open <= math.ceil(rows / parts)),
    },
    run=run_pieces,
    case_in_words=updates,
    value_name=loss_or_weights,
)


@accumulation.mistake(SIZE_FOR_NUMBER)
def pieces_of_parts_rows(*given):
    return in_pieces(given, by_rows, cut=torch.split)


@accumulation.mistake(ONE_READING)
def whole_batch_at_once(model, optimizer, x, y, parts):
    optimizer.zero_grad()
    loss = model(x, y)[1]
    loss.backward()
    optimizer.step()
    return loss.item()


@accumulation.mistake(ALL_KEPT)
def one_backward_for_all_pieces(model, optimizer, x, y, parts):
    optimizer.zero_grad()
    total = 0.0
    for xs, ys in zip(x.chunk(parts), y.chunk(parts), strict=True):
        total = total + model(xs, ys)[1] * len(xs) / len(x)
    total.backward()
    optimizer.step()
    return total.item()


@accumulation.mistake
def rest_dropped(*given):
    """With 5 rows in 2 pieces the last row was never read. What remains when 5 is divided by 2?"""
    return in_pieces(given, by_rows, cut=without_the_rest, returned=weighted_sum)


@accumulation.mistake
def rest_dropped_and_equal_shares(*given):
    """With 5 rows in 2 pieces the last row was never read, and the pieces share the whole among them. What remains
    when 5 is divided by 2?"""
    return in_pieces(given, lambda here, rows, parts: 1 / parts, cut=without_the_rest, returned=weighted_sum)


@accumulation.mistake
def gradients_without_shares(*given):
    """The pieces' gradients were added and nothing made them smaller: with more pieces the step gets longer."""
    return in_pieces(given, lambda here, rows, parts: 1.0)


@accumulation.mistake
def gradients_with_equal_shares(*given):
    """Right where all pieces are equally large, wrong for 5 rows in 2 pieces: there each row of the small piece
    weighs more. What is a piece's share of the batch?"""
    return in_pieces(given, lambda here, rows, parts: 1 / parts)


@accumulation.mistake
def gradients_divided_by_all_rows(*given):
    """The gradient is too small: each piece was divided by the number of rows, though its loss is a mean over its
    own rows already."""
    return in_pieces(given, lambda here, rows, parts: 1 / rows)


@accumulation.mistake
def gradients_multiplied_by_their_rows(*given):
    """The gradient is too large: each piece's loss was multiplied by its rows, and never divided."""
    return in_pieces(given, lambda here, rows, parts: float(here))


@accumulation.mistake
def update_and_loss_without_shares(*given):
    """The pieces were added as they are, gradients and losses: three pieces count three times. What is a piece's
    share of the batch?"""
    return in_pieces(given, lambda here, rows, parts: 1.0, returned=weighted_sum)


@accumulation.mistake
def update_and_loss_with_equal_shares(*given):
    """In the update and in the loss all pieces count alike. With 5 rows in 2 pieces they are not equally large: what
    is the share of each?"""
    return in_pieces(given, lambda here, rows, parts: 1 / parts, returned=weighted_sum)


@accumulation.mistake
def update_and_loss_divided_by_all_rows(*given):
    """Update and loss are both too small: each piece was divided by all rows, though its loss is a mean over its own
    rows already."""
    return in_pieces(given, lambda here, rows, parts: 1 / rows, returned=weighted_sum)


@accumulation.mistake
def update_and_loss_multiplied_by_their_rows(*given):
    """Update and loss are both too large: each piece was multiplied by its rows. What must the sum over the pieces
    be divided by?"""
    return in_pieces(given, lambda here, rows, parts: float(here), returned=weighted_sum)


@accumulation.mistake
def step_after_every_piece(*given):
    """The weights moved after every piece, so that the later pieces were read by another model, and earlier
    gradients were used again. How many updates has one large batch?"""
    return in_pieces(given, by_rows, between="step")


@accumulation.mistake
def update_of_its_own_for_every_piece(*given):
    """Each piece made a small update of its own. That trains too, but it is not what the large batch does. Where
    does the step belong?"""
    return in_pieces(given, by_rows, between="step and empty")


@accumulation.mistake
def gradients_emptied_before_every_piece(*given):
    """Only the last piece has taught anything: the gradients of the others were thrown away. When should .grad be
    emptied?"""
    return in_pieces(given, by_rows, between="empty")


@accumulation.mistake
def gradients_kept_from_the_last_update(*given):
    """The first update is right, the second one not: what is still in .grad when it begins?"""
    return in_pieces(given, by_rows, first="")


@accumulation.mistake
def loss_of_the_last_piece(*given):
    """The update is right, but the loss is that of the last piece alone."""
    return in_pieces(given, by_rows, returned=lambda losses, _: losses[-1])


@accumulation.mistake
def share_of_the_last_piece(*given):
    """The update is right, but what came back is the last piece's share of the loss. Where are the shares of the
    others added?"""
    return in_pieces(given, by_rows, returned=lambda _, weighted: weighted[-1])


@accumulation.mistake
def piece_losses_summed(*given):
    """The update is right, but the losses of the pieces were added up without their shares."""
    return in_pieces(given, by_rows, returned=lambda losses, _: sum(losses))


@accumulation.mistake
def plain_mean_of_the_piece_losses(*given):
    """The update is right, but the loss is the plain mean of the pieces, whatever their size."""
    return in_pieces(given, by_rows, returned=lambda losses, _: sum(losses) / len(losses))


@accumulation.mistake
def no_step(*given):
    """The weights were not changed at all. What comes behind the loop?"""
    return in_pieces(given, by_rows, between="no step")


@accumulation.mistake
def first_piece_only(model, optimizer, x, y, parts):
    """Only the first piece was read. How many are there?"""
    return row_by_row(model, optimizer, x.chunk(parts)[0], y.chunk(parts)[0], parts)
