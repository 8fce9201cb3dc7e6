"""The model, one part per file. Read norm, rope, linear, kv_cache, attention, feed_forward, loss, model.

The letters of shapes, everywhere in the library:

    B  sequences in a batch               H  query heads, `n_heads`
    T  new tokens that the model reads    K  key/value heads, `n_kv_heads`
    S  tokens read so far, T included     d  channels of one head, `head_dim` = D / H
    D  channels of a token, `dim`         F  channels inside the feed-forward part, `hidden_dim`
    L  layers, `n_layers`                 V  tokens in the vocabulary, `vocab_size`
"""
