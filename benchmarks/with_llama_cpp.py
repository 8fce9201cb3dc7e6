"""The model in llama.cpp's hands: a GGUF file of our weights, and its server inside the worker's own process."""

import os
from pathlib import Path

import peers
import race

NAMES = {
    "tok_embeddings": "token_embd",
    "layers.": "blk.",
    "attention_norm": "attn_norm",
    "attention.wo": "attn_output",
    "attention.w": "attn_",
    "feed_forward.w_": "ffn_",
}


def gguf_name(name: str) -> str:
    """Our name of a weight in a GGUF file of the llama architecture."""
    if name == "norm.weight":
        return "output_norm.weight"
    for mine, theirs in NAMES.items():
        name = name.replace(mine, theirs)
    return name


def write_gguf(folder: Path) -> Path:
    """Our weights as GGUF. llama.cpp turns neighbouring channels where we turn the two halves of a head, so the rows of
    the query and key matrices are put in its order. The vocabulary is made up: the words "3", "4", … are their ids."""
    import gguf

    config, weights = peers.read(folder)
    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_seq_len"])
    writer.add_embedding_length(config["dim"])
    writer.add_block_count(config["n_layers"])
    writer.add_feed_forward_length(config["hidden_dim"])
    writer.add_head_count(config["n_heads"])
    writer.add_head_count_kv(config["n_kv_heads"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_rope_dimension_count(config["dim"] // config["n_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("llama")
    control, words = ["<unk>", "<s>", "</s>"], [f" {i}" for i in range(3, config["vocab_size"])]
    writer.add_token_list(control + words)
    writer.add_token_scores([0.0] * config["vocab_size"])
    writer.add_token_types([gguf.TokenType.CONTROL] * len(control) + [gguf.TokenType.NORMAL] * len(words))
    for name, weight in weights.items():
        array = weight.numpy()
        if "wq" in name or "wk" in name:
            heads = config["n_heads" if "wq" in name else "n_kv_heads"]
            array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        writer.add_tensor(gguf_name(name), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class LlamaCpp:
    """llama.cpp with weights and cache in 32 bits. Its flash attention rounds keys and values to 16, so it is off."""

    def __init__(self, folder: Path, device: str = "cpu", rows: int = 8):
        import xllamacpp

        if device != "cpu":
            raise race.AbsentError("its prebuilt wheel computes on the processor")

        config, params = peers.read(folder)[0], xllamacpp.CommonParams()
        self.vocab_size = config["vocab_size"]
        params.model.path = str(write_gguf(folder))
        params.n_parallel, params.n_ctx = rows, rows * config["max_seq_len"]
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(os.environ["OMP_NUM_THREADS"])
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.verbosity = 0
        self.server = xllamacpp.Server(params)

    def complete(self, ids: list, new: int, temperature: float, shown: int = 0) -> dict:
        """The server's answer to the prompts `ids`; `shown`: of how many tokens it tells the probability."""
        fixed = dict(samplers=["temperature"], ignore_eos=True, cache_prompt=False)
        return self.server.handle_completions(
            dict(prompt=ids, n_predict=new, temperature=temperature, n_probs=shown, **fixed)
        )

    def log_probs(self, ids: list[int]) -> list[float]:
        answer = self.complete(ids, 1, 0.0, shown=self.vocab_size)
        likely = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return [p for _, p in sorted((token["id"], token["logprob"]) for token in likely)]

    def write(self, ids: list[list[int]], new: int, temperature: float, times: int = 1) -> list[list[int]]:
        for _ in range(times):
            answer = self.complete(ids, new, temperature)
        return [[int(word) for word in choice["text"].split()] for choice in answer["choices"]]
