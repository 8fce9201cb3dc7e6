"""From a model's logits to text: filters, sampling, generation."""
