"""Every number that shapes a model, a training or a sampling, checked when the configuration is made."""

import math
from dataclasses import asdict, dataclass, fields, replace

from .errors import ConfigError

PRESETS = {
    "tiny": dict(dim=128, n_layers=2, n_heads=4, n_kv_heads=2),
    "small": dict(dim=256, n_layers=4, n_heads=8, n_kv_heads=4),
    "medium": dict(dim=512, n_layers=8, n_heads=8, n_kv_heads=4),
}


IGNORED = -100  # a target that the loss leaves out, as in PyTorch's cross-entropy
LARGEST = 2**62  # whole numbers stay below this, well inside the 63 bits of a tensor and of a seed


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def require_ints(config, names: str, minimum: int = 1):
    """Raise ConfigError for a field of `config` that is not a whole number of at least `minimum`."""
    for name in names.split():
        value = getattr(config, name)
        if not _is_int(value) or not minimum <= value < LARGEST:
            raise ConfigError(f"{name} must be a whole number of at least {minimum}, found {value!r}.")


def require_numbers(config, names: str, low: float, high: float, low_open=False, high_open=False):
    """Raise ConfigError for a field that is no number between `low` and `high`; *_open excludes the end itself.

    Numbers beyond 1e30 are refused too: 32-bit floats end at 3.4e38.
    """
    for name in names.split():
        value = getattr(config, name)
        ok = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30  # no NaN either
        ok = ok and (value > low if low_open else value >= low) and (value < high if high_open else value <= high)
        if not ok:
            left, right = "(" if low_open else "[", ")" if high_open or high == math.inf else "]"
            raise ConfigError(f"{name} must be a number in {left}{low:g}, {high:g}{right}, found {value!r}.")


class _Config:
    """The three configurations' common part: a copy with changes, and a dictionary for JSON."""

    def with_(self, **changes):
        """A copy with some fields changed, checked like a new configuration.

        >>> TrainConfig().with_(grad_clip=0.5).grad_clip
        0.5
        """
        _require_fields(type(self), changes)
        return replace(self, **changes)

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict):
        _require_fields(cls, values)
        return cls(**values)


def _require_fields(cls, values):
    names = [field.name for field in fields(cls)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ConfigError(f"{cls.__name__} has no field {unknown[0]!r}; its fields are {', '.join(names)}.")


@dataclass(frozen=True)
class ModelConfig(_Config):
    """The shape of a model. The defaults are the preset `small`.

    `foundry_lib/models/__init__.py` lists the letters of the shapes.

    hidden_dim: width of the SwiGLU; None means 8/3 of `dim`, rounded up to a multiple of 32. Its three matrices then
        have as many parameters as the classic two of width 4·dim (Shazeer 2020, section 2).
    tie_embeddings: use the token embedding as the output head too.
    embedding_std, matrix_std: standard deviation of the initial weights; None means dim ** -0.5 for the embedding and
        fan_in ** -0.5 for each matrix. A separate output head starts at zero.

    Raises ConfigError, naming the field, for a shape that no model can have.
    """

    vocab_size: int = 8192
    dim: int = 256
    n_layers: int = 4
    n_heads: int = 8
    n_kv_heads: int = 4
    max_seq_len: int = 256
    hidden_dim: int | None = None
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    tie_embeddings: bool = False
    embedding_std: float | None = None
    matrix_std: float | None = None

    def __post_init__(self):
        require_ints(self, "vocab_size dim n_layers n_heads n_kv_heads max_seq_len")
        if self.hidden_dim is None:
            object.__setattr__(self, "hidden_dim", -(-8 * self.dim // 3 // 32) * 32)
        require_ints(self, "hidden_dim")
        require_numbers(self, "norm_eps", 0, 1)
        require_numbers(self, "rope_theta", 1, 1e12, low_open=True)
        if not isinstance(self.tie_embeddings, bool):
            raise ConfigError(f"tie_embeddings must be True or False, found {self.tie_embeddings!r}.")
        for name in ("embedding_std", "matrix_std"):
            if getattr(self, name) is not None:
                require_numbers(self, name, 0, 100, low_open=True)
        if self.dim % (2 * self.n_heads):
            step = 2 * self.n_heads
            near = sorted({max(1, self.dim // step) * step, (self.dim // step + 1) * step})
            raise ConfigError(
                f"dim must be a multiple of 2 × n_heads = {step}, because each head needs a whole and even number of "
                f"channels (RoPE turns them in pairs); found dim={self.dim}, n_heads={self.n_heads}. "
                f"Try dim={' or '.join(map(str, near))}."
            )
        if self.n_heads % self.n_kv_heads:
            valid = [k for k in range(1, self.n_heads + 1) if self.n_heads % k == 0]
            raise ConfigError(
                f"n_heads must be a multiple of n_kv_heads, because each key/value head serves an equal group of query "
                f"heads; found n_heads={self.n_heads}, n_kv_heads={self.n_kv_heads}. "
                f"Try n_kv_heads={' or '.join(map(str, valid))}."
            )

    @classmethod
    def preset(cls, name: str, **changes) -> "ModelConfig":
        """A named size (tiny, small or medium), with any other field set by keyword.

        >>> ModelConfig.preset("tiny", vocab_size=500).dim
        128
        """
        if name not in PRESETS:
            raise ConfigError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
        return cls.from_dict({**PRESETS[name], **changes})

    @property
    def head_dim(self) -> int:
        """Channels of one head, d = D / H."""
        return self.dim // self.n_heads

    @property
    def params_by_part(self) -> dict[str, int]:
        """Number of trained parameters in each part of the model; their sum is `n_params`."""
        kv_dim = self.n_kv_heads * self.head_dim
        return {
            "embedding": self.vocab_size * self.dim,
            "attention": self.n_layers * (2 * self.dim * self.dim + 2 * self.dim * kv_dim),
            "feed_forward": self.n_layers * 3 * self.dim * self.hidden_dim,
            "norms": (2 * self.n_layers + 1) * self.dim,
            "head": 0 if self.tie_embeddings else self.vocab_size * self.dim,
        }

    @property
    def n_params(self) -> int:
        """Number of trained parameters; a tied head counts once."""
        return sum(self.params_by_part.values())

    @property
    def flops_per_token(self) -> int:
        """Floating-point operations of one forward pass over a full context, divided by its tokens.

        Each weight of a matrix takes 2 (a multiplication and an addition). The embedding, a table, takes none.
        Attention adds the scores q·k and the mix w·v: 2 × 2 × T × D per layer, counted over the whole T × T square.
        Norms, rotation, softmax and SiLU are left out, as is usual. A training step takes three times this.
        """
        parts = self.params_by_part
        matrices = parts["attention"] + parts["feed_forward"] + self.vocab_size * self.dim
        return 2 * matrices + self.n_layers * 4 * self.max_seq_len * self.dim

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of one token in the KV cache at 16 bits: keys and values of each layer and each key/value head."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * 2


@dataclass(frozen=True)
class TrainConfig(_Config):
    """How to train. The learning rate warms up linearly, then falls along a cosine to `min_lr_ratio` of its peak.

    max_iters: optimizer steps. warmup_iters: steps of warm-up; None means 5 % of max_iters.
    eval_interval: steps between two validation losses; the first and the last step are always evaluated.
    weight_decay: decoupled decay of the matrices; norms and embeddings have none. The default is ten times the usual
        0.1, because the texts here are small and are read many times; `recipes.new_trainer` sets it by the text's size.
    grad_clip: largest gradient norm.
    seed: a note of the training's seed, filled in by `new_trainer`. The Trainer does not read it: the seeds of weights
        and batches are arguments of MiniLLM and DataLoader.
    """

    batch_size: int = 8
    learning_rate: float = 3e-3
    max_iters: int = 1500
    eval_interval: int = 100
    warmup_iters: int | None = None
    min_lr_ratio: float = 0.05
    weight_decay: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95
    grad_clip: float = 1.0
    seed: int = 1337

    def __post_init__(self):
        require_ints(self, "batch_size max_iters eval_interval")
        require_ints(self, "seed", minimum=0)
        if self.warmup_iters is None:
            object.__setattr__(self, "warmup_iters", max(1, self.max_iters // 20))
        require_ints(self, "warmup_iters", minimum=0)
        require_numbers(self, "learning_rate grad_clip", 0, math.inf, low_open=True)
        require_numbers(self, "min_lr_ratio", 0, 1)
        require_numbers(self, "weight_decay", 0, math.inf)
        require_numbers(self, "beta1 beta2", 0, 1, high_open=True)
        if self.warmup_iters > self.max_iters:
            raise ConfigError(
                f"warmup_iters must not exceed max_iters, found {self.warmup_iters} and {self.max_iters}."
            )


@dataclass(frozen=True)
class SampleConfig(_Config):
    """How the next token is sampled. The defaults change nothing: plain sampling from the model's distribution.

    temperature: 0 is greedy; below 1 sharper, above 1 flatter.
    top_k: keep the k most probable tokens; 0 or None is off.
    top_p: keep the smallest set of tokens with this much probability; 1 or None is off.
    min_p: drop tokens whose probability is below min_p times the largest; 0 is off.
    repetition_penalty: above 1, tokens of the text so far become less probable; from 0.01 to 100.
    """

    temperature: float = 1.0
    top_k: int | None = 0
    top_p: float | None = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self):
        require_numbers(self, "temperature", 0, math.inf)
        if self.top_k is not None:
            require_ints(self, "top_k", minimum=0)
        if self.top_p is not None:
            require_numbers(self, "top_p", 0, 1, low_open=True)
        require_numbers(self, "min_p", 0, 1)
        require_numbers(self, "repetition_penalty", 0.01, 100)
