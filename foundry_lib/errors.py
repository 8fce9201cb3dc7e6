"""One family of errors, so that a caller can catch everything the library refuses with `except FoundryError`."""

import warnings


class FoundryError(ValueError):
    """Something the library refuses. The message says what was wrong, what was found and what to do."""


class ConfigError(FoundryError):
    """A setting that no model, training or sampling can have; the message names the field."""


class CorpusError(FoundryError):
    """A text that cannot be learned from; the message names the file."""


class TokenizerError(FoundryError):
    """A tokenizer that is broken, or that belongs to another text."""


class CheckpointError(FoundryError):
    """A checkpoint that is incomplete, damaged, or does not fit what it is loaded into."""


class Notice(UserWarning):
    """Something the library did and says, such as a lowered vocabulary or a cropped prompt."""


# Python shows an equal warning once per place; a learner who crops two prompts wants to hear it twice.
warnings.simplefilter("always", Notice)
