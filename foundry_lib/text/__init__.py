"""Text to batches. Read corpus, split, tokenizer, tokens, loader; baselines are losses to compare with."""
