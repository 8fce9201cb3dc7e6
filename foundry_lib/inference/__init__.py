"""From a model's logits to text: sampling (one token), generation (the loop), CUDA graphs (the loop on a GPU)."""
