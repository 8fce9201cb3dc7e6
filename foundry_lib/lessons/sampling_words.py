"""The models of lesson 08, and prompts and words in the language of each."""

from dataclasses import dataclass

from ..errors import CheckpointError
from ..models.model import MiniLLM
from ..tales import language_of
from ..text.tokenizer import Tokenizer
from ..training.recipes import new_trainer
from .own_model import ShownModel, grammar_of, learners_model, load_with_own_parts, saved_trainings


@dataclass(frozen=True)
class TaleWords:
    """begin: how a tale begins. name: a beginning after which a hero's name must come. certain: one after which only a
    single word can come. right, wrong: words of the tale with seed 5, and the same with another thing."""

    begin: str
    name: str
    certain: str
    right: str
    wrong: str


WORDS = {
    "en": TaleWords(
        "Once there was",
        "By the sea lived Clever",
        "By the sea lived Clever Ann with",
        "took its purple kite",
        "took its purple drum",
    ),
    "zh": TaleWords("从前有个", "海边住着聪明的", "海边住着聪明的小红和", "带上它的紫风筝", "带上它的紫小鼓"),
}
TEXTS = {"python-docs": "If the object is", "tang-poems": "床前明月光"}  # a prompt for each built-in text
QUICK = dict(max_iters=400, eval_interval=400, learning_rate=6e-3, weight_decay=0.3)  # as lesson 07 trains this text
QUICK |= dict(vocab_size=1024, tie_embeddings=True, embedding_std=0.1)
OTHER = {"en": "It is", "zh": "他们"}  # for a text of the learner's own


def tales_model(device: str | None = None) -> ShownModel:
    """The learner's model of lesson 07 if it writes tales, in English or Chinese; else the newest one of English tales,
    else the course's starter."""
    newest = learners_model(device)
    return newest if newest.grammar else learners_model(device, "en")


def text_model(device: str | None = None) -> tuple[MiniLLM, Tokenizer]:
    """The learner's newest model of a text of their own, from section 11 of lesson 07. If there is none, or it is
    damaged, a short training on python-docs makes one."""
    try:
        return load_with_own_parts(saved_trainings("07_own_text")[0], device)
    except (IndexError, CheckpointError):
        trainer = new_trainer("python-docs", **QUICK)
        list(trainer.run())
        return trainer.model, trainer.loader.tokenizer


def prompt_for(tokenizer: Tokenizer) -> str:
    """A prompt in the language of the text from which this tokenizer was made."""
    tales = grammar_of(tokenizer.corpus_name)
    language = tales or language_of(tokenizer.decode(range(tokenizer.vocab_size)))
    return WORDS[language].begin if tales else TEXTS.get(tokenizer.corpus_name, OTHER[language])
