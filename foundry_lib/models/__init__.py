"""The model, a part a file. Read norm, rope, linear, kv_cache, attention, feed_forward, loss, then model."""
