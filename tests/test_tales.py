"""The tales: exact, unambiguous, judged by rule and place."""

import math
import os
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from foundry_lib import tales
from foundry_lib.errors import CorpusError, FoundryError
from foundry_lib.tales import plot
from foundry_lib.tales.hands import Lost, Reader
from foundry_lib.tales.verdict import STOPS
from foundry_lib.tales.walk import Tale, walk

RULES = {"agreement", "pronoun", "recall", "binding", "spell", "mirror", "sum", "gift", "fact"}
PUNCTUATION = set(".,!?:，。！？：、")

languages = pytest.mark.parametrize("language", ["en", "zh"])


@languages
def test_generator_and_parser_agree(language):
    told = tales.generate(language, seed=1, n=500) + tales.generate(language, seed=2, n=100, held_out=True)
    for tale in told:
        verdict = tales.parse(tale.text, language)
        assert verdict.valid, (verdict.message, tale.text)
        assert verdict.tale.words == tale.words and verdict.tale.rules == tale.rules
        assert verdict.tale.word_log_probs == tale.word_log_probs
        assert verdict.tale.held_out == tale.held_out
        assert verdict.kept == verdict.asked == Counter(rule for rule in tale.rules if rule)


@languages
def test_the_same_seed_tells_the_same_tales(language):
    tale = tales.generate(language, seed=0)[0]
    assert tales.generate(language, seed=0, n=3)[0].text == tale.text
    assert tales.generate(language, seed=1)[0].text != tale.text


@languages
def test_the_probability_of_a_tale_is_the_product_of_true_next_word_distributions(language):
    """Word for word against `prefix_distribution`, which sums to one: so the log-probability is exact."""
    tale = tales.generate(language, seed=5)[0]
    text = ""
    for index, (word, log_p) in enumerate(zip(tale.words, tale.word_log_probs, strict=True)):
        options = tales.prefix_distribution(text, language)
        assert math.isclose(sum(options.values()), 1, abs_tol=1e-12)
        assert math.isclose(math.log(options[word]), log_p, abs_tol=1e-12)
        text = " ".join(tale.words[: index + 1]) + " " if tale.spaced else "".join(tale.words[: index + 1])
    assert tales.prefix_distribution(tale.text, language) == {"": 1.0}
    assert math.isclose(tale.log_prob, math.fsum(tale.word_log_probs))


@languages
def test_first_words_come_as_often_as_their_probability_says(language):
    """A generator that ignored the weights is caught here: chi-square of the hero over 4,000 tales."""
    n = 4000
    seen = Counter(tale.memory["A.name"] for tale in tales.generate(language, seed=3, n=n))
    expected = tales.grammar(language).weights["heroes"]
    chi2 = sum((seen[name] - n * p) ** 2 / (n * p) for name, p in expected.items())
    assert chi2 < 35  # 11 degrees of freedom: p < 0.0003


def test_what_the_tales_say_is_true():
    """Read by regular expressions, without the grammar: sums, owners and ways back."""
    numbers = "one two three four five six seven eight nine ten".split()
    owned = re.compile(r"((?:[A-Z]\w+) (?:[A-Z]\w+)) (?:with|took|packed|hugged) (?:her|his|its) (\w+ \w+)")
    seen = Counter()
    for tale in tales.generate("en", seed=11, n=300):
        for n, m, rest in re.findall(r"bought (\w+) \w+, ate (\w+) and kept (\w+)", tale.text):
            assert numbers.index(n) - numbers.index(m) - 1 == numbers.index(rest)
            seen["difference"] += 1
        for k, more, total in re.findall(r"picked (\w+) \w+ and found (\w+) more, (\w+) in all", tale.text):
            assert numbers.index(k) + numbers.index(more) + 1 == numbers.index(total)
            seen["sum"] += 1
        ways = r"from (\w+) to (\w+) and (\w+), then back from (\w+) to (\w+) and (\w+)"
        for a, b, c, *back in re.findall(ways, tale.text):
            assert [c, b, a] == back
            seen["back"] += 1
        things = {}
        for owner, thing in owned.findall(tale.text):
            assert things.setdefault(owner, thing) == thing
            seen["owned"] += 1
        assert len(things) == 2
    assert min(seen[kind] for kind in ("difference", "sum", "back", "owned")) > 30


@languages
def test_the_no_memory_baseline_is_worse_but_only_where_the_story_decides(language):
    for tale in tales.generate(language, seed=4, n=50):
        for word, rule, exact, forgetful in zip(
            tale.words, tale.rules, tale.word_log_probs, tale.forgetful_log_probs, strict=True
        ):
            assert forgetful <= 1e-12
            if exact == 0 and rule is None:
                assert forgetful == 0, word
        assert sum(tale.forgetful_log_probs) < tale.log_prob


@languages
def test_the_no_memory_baseline_is_a_distribution(language):
    """At every branching of the first scenes its probabilities sum to one."""
    grammar = tales.grammar(language)

    def visit(node):
        if node.scene is None:
            assert math.isclose(sum(share for _, _, share in node.edges.values()), 1, abs_tol=1e-9)
            for _, child, _ in node.edges.values():
                if id(child) not in seen:
                    seen.add(id(child))
                    visit(child)

    seen = set()
    for done in [(), ("hero",), plot.OPENING[:3], plot.OPENING, (*plot.OPENING, "spell", "event")]:
        visit(grammar.next_words(done))


@languages
def test_size_of_the_world(language):
    told = tales.generate(language, seed=6, n=2000)
    words = [sum(word not in PUNCTUATION for word in tale.words) for tale in told]
    assert 80 <= sum(words) / len(words) <= 120
    vocabulary = {word for tale in told for word in tale.words}
    assert 300 <= len(vocabulary) <= 600
    retrieved = Counter(rule for tale in told for rule in tale.rules if rule)
    assert set(retrieved) == RULES
    assert len({tale.text for tale in told}) == len(told)
    # every tale begins with these free choices, so there are at least this many tales
    lists = tales.grammar(language).lists
    kinds = "traits heroes colours humours friends colours goals animals animals".split()
    assert math.prod(len(lists[kind]) for kind in kinds) * 14 * 14 > 1e12
    assert len(lists["animals"]) * 2 > 100  # facts to be memorised


@languages
def test_a_held_out_pair_is_in_no_training_tale(language):
    grammar = tales.grammar(language)

    def pairs(held_out):
        told = tales.generate(language, seed=7, n=1500, held_out=held_out)
        return {(t.memory[f"{who}.name"], t.memory[f"{who}.thing"]) for t in told for who in "AB"}

    trained, held_out = pairs(False), pairs(True)
    assert len(held_out) > 30 and not trained & held_out
    assert all(grammar.is_held_out(*pair) for pair in held_out)
    assert {thing for _, thing in held_out} <= {thing for _, thing in trained}  # new pairs of known things


def replaced(tale, rule, word, position=0):
    """The tale's text with the word at the position-th occurrence of a rule replaced."""
    index = [i for i, r in enumerate(tale.rules) if r == rule][position]
    words = list(tale.words)
    words[index] = word
    return (" ".join(words) if tale.spaced else "".join(words)), index


@languages
@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_named_when_broken(language, rule):
    grammar = tales.grammar(language)
    tale = next(t for t in tales.generate(language, seed=8, n=300) if rule in t.rules)
    index = tale.rules.index(rule)
    node, memory = node_at(grammar, tale, index)
    options = node.options(memory)
    wrong = next(w for w, (slot, *_) in node.edges.items() if w not in options and slot is not None)
    text, _ = replaced(tale, tale.rules[index], wrong)
    verdict = tales.parse(text, language)
    assert not verdict.valid and verdict.rule == rule and verdict.tale is None
    assert verdict.word == index
    assert wrong in verdict.message and str(verdict.sentence) in verdict.message
    assert verdict.sentence == 1 + sum(word in ".!。！" for word in tale.words[:index])


def node_at(grammar, tale, index):
    """The node of the grammar at which word `index` of a tale was chosen, and the memory then."""
    found = []

    class Watcher(Reader):
        def pick(self, options, node, at):
            if at == index:
                found.append((node, dict(again.memory)))
            return super().pick(options, node, at)

    again = Tale(tale.language, tale.held_out, tale.spaced)
    walk(grammar, Watcher(tale.text, grammar.spaced), tale.held_out, again)
    return found[0]


def test_the_message_reads_like_a_sentence():
    tale = next(t for t in tales.generate("en", seed=9, n=50) if t.memory["A.thing"] == "lantern")
    positions = [i for i, r in enumerate(tale.rules) if r == "binding" and tale.words[i] == "lantern"]
    words = list(tale.words)
    words[positions[0]] = "teapot"
    verdict = tales.parse(" ".join(words), "en")
    assert verdict.message.startswith("the lantern became a teapot in sentence ")
    assert verdict.kept["binding"] == verdict.asked["binding"] - 1  # the rest of the tale is still judged


@languages
def test_texts_that_are_no_tales(language):
    tale = tales.generate(language, seed=10)[0]
    half = tales.parse(tale.text[: len(tale.text) // 2], language)
    assert not half.valid and half.rule == "grammar"
    assert not tales.parse(tale.text + tale.text[-1], language).valid
    assert not tales.parse("", language).valid
    strange = tales.parse("Hello 你好 \n\t\0 123", language)
    assert not strange.valid and "Hell" in strange.message and "  " not in strange.message + " "
    assert "“”" not in strange.message, "there is no word before the first"
    with pytest.raises(CorpusError, match="not one of the tales"):
        tales.log_prob("Hello.", language)


@languages
def test_a_tale_without_its_last_sentences_is_unfinished(language):
    """Every proper beginning that ends with a sentence: it breaks no rule, and has no probability."""
    unfinished = tales.grammar(language).messages["unfinished"].split("{")[0]
    for tale in tales.generate(language, seed=12, n=20):
        parts, ends = tale.parts, [i + 1 for i, word in enumerate(tale.words) if word in STOPS]
        assert len(ends) >= 7 and ends[-1] == len(parts)
        for end in ends[:-1]:
            text = "".join(parts[:end])
            verdict = tales.parse(text, language)
            assert not verdict.valid and verdict.rule == "grammar" and verdict.tale is None, text
            assert verdict.message.startswith(unfinished) and verdict.word <= end and verdict.kept == verdict.asked
            with pytest.raises(CorpusError, match="not one of the tales"):
                tales.log_prob(text, language)


@pytest.mark.parametrize("language", tales.LANGUAGES)
def test_the_language_of_a_text_is_recognised(language):
    for tale in tales.generate(language, seed=13, n=20):
        assert tales.language_of(tale.text) == tales.language_of(tale.text[:9]) == language
    assert tales.language_of("") == tales.language_of("123 ...") == "en"


def test_a_word_half_written_narrows_the_distribution():
    assert set(tales.prefix_distribution("This is the tale of Br")) == {"Brave"}
    with pytest.raises(CorpusError):
        tales.prefix_distribution("Call me Ishmael")


def test_both_prompts_of_the_guide_begin_a_chinese_tale():
    for prompt in ("人工智能", "深度学习"):
        assert tales.prefix_distribution(prompt, "zh")


def test_an_unknown_language_is_refused():
    with pytest.raises(CorpusError, match="'fr'"):
        tales.generate("fr")


def test_a_learner_adds_a_character_a_thing_and_a_rule():
    en = tales.grammar("en")
    mine = en.with_(
        lists={"heroes": [*en.lists["heroes"], "Zack"], "weather": "sunny windy foggy".split()},
        tables={he: {**en.tables[he], "Zack": en.tables[he]["Ben"]} for he in en.rules["pronoun"].split()},
        rules={"weather": "sky"},
        scenes={
            "quest": ["It was a {sky=weather} day , and the mayor begged them to {goal=goals} ."],
            "end": ["It was still {sky} when they did {goal} ."],
        },
    )
    told = tales.generate(mine, n=300)
    assert any(tale.memory["A.name"] == "Zack" for tale in told)
    tale = told[0]
    assert "weather" in tale.rules and tales.parse(tale.text, mine).valid
    assert any("find the lost star" in tale.text for tale in told)  # what was not changed is still there
    wrong = "sunny" if tale.memory["sky"] != "sunny" else "windy"
    text, _ = replaced(tale, "weather", wrong)
    assert tales.parse(text, mine).rule == "weather"


def test_an_ambiguous_grammar_is_refused():
    en = tales.grammar("en")
    with pytest.raises(FoundryError, match="beginning of another"):
        tales.generate(en.with_(scenes={"quest": ["They left .", "They left . So they went ."]}), n=5)
    with pytest.raises(FoundryError, match="two sentences go on"):
        tales.generate(en.with_(scenes={"quest": ["The {c=colours} dog ran .", "The red sun set ."]}), n=5)
    with pytest.raises(FoundryError, match="begin with 'win'"):
        en.with_(lists={"goals": ["win a race", "win a medal"]})
    with pytest.raises(FoundryError, match="No sentence fills"):
        tales.generate(en.with_(scenes={"quest": ["They saw {nobody} ."]}), n=5)


def agree_on(job):
    """Tell n tales and read each again; returns how many, and how many were not read as they were told."""
    language, seed, n = job
    bad = 0
    for tale in tales.generate(language, seed=seed, n=n):
        try:
            read = walk(tales.grammar(language), Reader(tale.text, tale.spaced))
        except Lost:
            bad += 1
            continue
        bad += read.words != tale.words or read.word_log_probs != tale.word_log_probs
    return n, bad


@languages
def test_one_derivation_each(language, request):
    """Unique because every branching shows at its word, which building the grammar checks; tried here."""
    jobs = [(language, 1000 + i, 5000) for i in range(20 if request.config.getoption("--long") else 1)]
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        results = list(pool.map(agree_on, jobs))
    assert sum(n for n, _ in results) == 5000 * len(jobs)
    assert sum(bad for _, bad in results) == 0
