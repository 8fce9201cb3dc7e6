"""What no configuration may be: each refusal names the field, what was found and what would work."""

import pytest

from foundry_lib import ConfigError, ModelConfig, SampleConfig, TrainConfig

BAD_MODELS = [
    (dict(dim=66, n_heads=4, n_kv_heads=2), r"dim must be a multiple of 2 × n_heads = 8.*dim=66.*Try dim=64 or 72"),
    (dict(dim=12, n_heads=4, n_kv_heads=2), "dim must be a multiple"),  # head_dim 3 is odd
    (dict(n_heads=8, n_kv_heads=3), r"n_kv_heads=3.*Try n_kv_heads=1 or 2 or 4 or 8"),
    (dict(n_heads=4, n_kv_heads=8), "n_kv_heads=8"),
    (dict(n_layers=0), "n_layers must be a whole number of at least 1, found 0"),
    (dict(vocab_size=-5), "vocab_size"),
    (dict(dim=256.0), "dim must be a whole number"),
    (dict(n_layers=True), "n_layers"),
    (dict(norm_eps=-1e-5), "norm_eps"),
    (dict(norm_eps=float("nan")), "norm_eps"),
    (dict(rope_theta=0), "rope_theta"),
    (dict(hidden_dim=0), "hidden_dim"),
    (dict(max_seq_len=0), "max_seq_len"),
    (dict(tie_embeddings="yes"), "tie_embeddings"),
    (dict(embedding_std=0.0), "embedding_std"),
    (dict(embedding_std="a"), "embedding_std"),
]
BAD_TRAININGS = [
    (dict(batch_size=0), "batch_size"),
    (dict(learning_rate=0), "learning_rate"),
    (dict(learning_rate=float("inf")), "learning_rate"),
    (dict(max_iters=-1), "max_iters"),
    (dict(eval_interval=0), "eval_interval"),
    (dict(warmup_iters=2000), "warmup_iters"),
    (dict(beta1=1.0), "beta1"),
    (dict(grad_clip=0), "grad_clip"),
    (dict(min_lr_ratio=1.5), "min_lr_ratio"),
    (dict(seed=-1), "seed"),
]
BAD_SAMPLINGS = [
    (dict(temperature=-0.1), "temperature"),
    (dict(temperature=float("nan")), "temperature"),
    (dict(temperature=float("inf")), "temperature"),
    (dict(temperature="hot"), "temperature"),
    (dict(top_k=-1), "top_k"),
    (dict(top_k=2.5), "top_k"),
    (dict(top_p=0), "top_p"),
    (dict(top_p=1.0001), "top_p"),
    (dict(top_p=float("nan")), "top_p"),
    (dict(min_p=-0.1), "min_p"),
    (dict(min_p=2), "min_p"),
    (dict(repetition_penalty=0), "repetition_penalty"),
]


@pytest.mark.parametrize(
    "cls, values, message",
    [
        *((ModelConfig, *row) for row in BAD_MODELS),
        *((TrainConfig, *row) for row in BAD_TRAININGS),
        *((SampleConfig, *row) for row in BAD_SAMPLINGS),
    ],
)
def test_refused_by_name(cls, values, message):
    with pytest.raises(ConfigError, match=message):
        cls(**values)
    with pytest.raises(ConfigError, match=message):
        cls().with_(**values)


def test_ends_of_ranges_and_whole_numbers_are_accepted():
    SampleConfig(temperature=0, top_k=0, top_p=1, min_p=1, repetition_penalty=1)
    TrainConfig(max_iters=1, warmup_iters=0, weight_decay=0)


def test_unknown_names():
    with pytest.raises(ConfigError, match="no preset 'huge'; choose one of tiny, small, medium"):
        ModelConfig.preset("huge")
    with pytest.raises(ConfigError, match="no field 'heads'"):
        ModelConfig.preset("tiny", heads=3)


def test_presets_and_round_trip():
    shape = [(c.dim, c.n_layers, c.n_heads, c.n_kv_heads) for c in map(ModelConfig.preset, ("tiny", "small", "medium"))]
    assert shape == [(128, 2, 4, 2), (256, 4, 8, 4), (512, 8, 8, 4)]
    assert ModelConfig() == ModelConfig.preset("small")
    for config in (ModelConfig.preset("tiny"), TrainConfig(max_iters=40), SampleConfig(top_p=0.5)):
        assert type(config).from_dict(config.to_dict()) == config
