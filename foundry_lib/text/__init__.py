"""Text to batches. Read corpus, tokenizer, then data; baselines are losses to compare with."""
