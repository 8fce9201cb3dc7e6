"""The English tales: words, tables, sentences. See `slots` for the braces, `plot` for the order of scenes."""

from .grammar import Grammar, words

SHE = words("Ann Mia Rosa Lily Nora Ivy Zoe Ella Kate Tilda")
HE = words("Ben Tom Max Leo Sam Hugo Finn Jack Otto Paul")
PETS = words("Kitten Puppy Parrot Goat")


def by_gender(she, he, it):
    return dict.fromkeys(SHE, she) | dict.fromkeys(HE, he) | dict.fromkeys(PETS, it)


# animal, its home, its food
ANIMALS = words("""
fox den berries | duck pond bread | mouse pantry cheese | bear cave honey | rabbit burrow carrots |
frog pond flies | squirrel forest nuts | horse stable apples | cow meadow clover | hen barn corn |
pig sty turnips | sheep meadow daisies | wolf cave stew | badger burrow roots | mole burrow worms |
robin hedge crumbs | cat pantry cream | dog kennel bones | donkey stable thistles | goose pond corn |
beaver river bark | seal sea herrings | whale sea plankton | crab sea mussels | lizard desert flies |
camel desert dates | monkey jungle bananas | tiger jungle stew | panda jungle bamboo | sloth jungle figs |
lion desert bones | snail garden lettuce | bee garden nectar | wasp garden jam | moth attic wool |
spider attic flies | bat cave figs | raven tower crumbs | pigeon tower peas | sparrow hedge seeds |
swan river bread | heron river herrings | deer forest bark | boar forest roots | hare meadow lettuce |
pony stable carrots | rat sty peas | turkey barn berries | peacock garden seeds | penguin iceberg mussels |
walrus iceberg cockles | dragon volcano pepper | goblin swamp jam | troll swamp turnips |
toad swamp worms | newt river plankton
""")
HOMES = {animal: home for animal, home, _ in map(str.split, ANIMALS)}
FOODS = {animal: food for animal, _, food in map(str.split, ANIMALS)}

ONE = words("lamp boat candle bell cloud kettle flag window rose star")
SIGHTS = words("tree hill wall road lake bridge")

GRAMMAR = Grammar(
    language="en",
    lists={
        "heroes": "Ann Ben Mia Tom Rosa Max Lily Leo Nora Sam Ivy Hugo",
        "friends": "Finn Zoe Kitten Jack Ella Puppy Kate Otto Parrot Tilda Paul Goat",
        "traits": "Brave Clever Merry Little Gentle Proud Lucky Honest Fearless Dreamy",
        "humours": "Sleepy Hungry Shy Stubborn Curious Polite Noisy Grumpy Silly Clumsy",
        "colours": "red blue green yellow white black purple golden",
        "things": """kite drum hat lantern scarf whistle teapot ladder basket compass bucket blanket
            fiddle mirror pillow spoon""",
        "where": """In a crooked house | On a windy hill | By the sea | Under an old bridge |
            Behind the moon | Above a bakery | Beyond seven rivers | At the edge of the map""",
        "goals": """find the lost star | wake the sleeping giant | win the great race |
            cheer up the sad king | catch the runaway moon | bake the biggest pie |
            visit the castle in the clouds | mend the old clock | tame the little dragon |
            cross the silver sea | free the snow bird | paint the tallest tower""",
        "patrons": "mayor duchess gardener lighthouse wind clockmaker grandmother moon",
        "casters": "witch parrot beggar ghost nurse scarecrow kettle mermaid",
        "syllables": "zim bala koo tiri fen oru mip lazu dob reka wum sifo nel gax pudo hai",
        "troubles": """Every gate was locked | One giant blocked the road | It grew dark | Fog came down |
            Nobody knew the way | Thunder rolled | Everything went quiet""",
        "folk": "Grandma Papa Uncle Teacher Doctor Auntie Captain Grandpa Mama Nanny Cook Santa",
        "gifts": "letter cake ring map key crown clock book",
        "did": "hugged polished dropped hid shook washed dusted painted mended tickled balanced waved",
        "how": """with a smile | in the rain | for luck | by mistake | all day long | once more |
            without a sound | until it squeaked | like a hero | under a tree""",
        "moods": "lonely sneezing muddy wise homesick giggling tired fancy",
        "animals": HOMES,
        "places": """mill well oak church inn market forge bakery windmill orchard statue ferry school
            fountain chapel gate""",
        "nouns": [word for noun in ONE for word in (noun, noun + "s")],
        "sights": [word for sight in SIGHTS for word in (sight + "s", sight)],
        "near": "near behind beyond above beside",
        "looks": "lovely tiny strange bright wet enormous crooked dusty",
        "fruit": "pears plums cherries buns shells marbles coins pebbles",
        "numbers": "one two three four five six seven eight nine ten",
        "many": "four five three six seven",
        "some": "two three four five",
        "few": "two three one four",
        "everyone": "everybody | half the town | both of them | every fish",
        "joys": """danced till dawn | fell asleep at once | laughed for a week | ate too much cake |
            cheered like lions | went home singing | blushed""",
    },
    tables={
        "he": by_gender("she", "he", "it"),
        "his": by_gender("her", "his", "its"),
        "him": by_gender("her", "him", "it"),
        "His": by_gender("Her", "His", "Its"),
        "home": HOMES,
        "food": FOODS,
        "was": {noun: "was" for noun in ONE} | {noun + "s": "were" for noun in ONE},
    },
    rules={
        "pronoun": "he his him His",
        "agreement": "was",
        "recall": "A B goal",
        "binding": "name colour thing",
        "spell": "z",
        "mirror": "p",
        "gift": "j g",
        "fact": "home food",
    },
    phrases={
        "new A": "{A=traits} {A.name=heroes}",
        "new B": "{B=humours} {B.name=friends/A.name}",
        "new thing of A": "{A.name~his} {A.colour=colours} {A.thing=things/A.name}",
        "new thing of B": "{B.name~his} {B.colour=colours} {B.thing=things/B.name}",
        "X": "{X=A|B} {X.name}",
        "Y": "{Y!X} {Y.name}",
        "X's thing": "{X.name~his} {X.colour} {X.thing}",
        "Y's thing": "{Y.name~his} {Y.colour} {Y.thing}",
        "new spell": "{z1=syllables} {z2>z1} {z3>z2} {z4>z3}",
        "spell": "{z1} {z2} {z3} {z4}",
        "gift": "a {g=gifts}",
        "place 1": "{near1=near} the {s1=sights}",
        "place 2": "{near2=near} the {s2=sights}",
    },
    scenes={
        "hero": [
            "{where=where} lived <new A> with <new thing of A> .",
            "Once there was <new A> with <new thing of A> .",
            "This is the tale of <new A> with <new thing of A> .",
        ],
        "friend": [
            "{A.name~His} best friend was <new B> with <new thing of B> .",
            "Next door lived <new B> with <new thing of B> .",
            "Nearby snored <new B> with <new thing of B> .",
        ],
        "quest": [
            "<X> said : let us {goal=goals} !",
            "The {patron=patrons} begged them to {goal=goals} .",
            "They had always wished to {goal=goals} .",
        ],
        "pack": [
            "So <X> took <X's thing> and <Y> took <Y's thing> .",
            "<X> packed <X's thing> and <Y> packed <Y's thing> .",
        ],
        "path": [
            "Past {p1=places} , {p2>p1} and {p3>p2} they went , and home past {p3} , {p2} and {p1} .",
            "They ran from {p1=places} to {p2>p1} and {p3>p2} , then back from {p3} to {p2} and {p1} .",
        ],
        "spell": [
            "A {caster=casters} sang <new spell> , and they sang <spell> .",
            "They read <new spell> on a wall and sang <spell> .",
        ],
        "gift": [
            "<X> gave <gift> to {j1=folk} , {j1} gave the {g} to {j2>j1} , and {j2} kept it .",
            "{j2=folk} got <gift> from {j1>j2} , {j1} got the {g} from <X> , so {j2} kept it .",
        ],
        "things": [
            "<X> {d=did} <X's thing> {h=how} .",
            "<X> lost <X's thing> , but <Y> found it .",
            "<X> felt cold , so <Y> lent {X.name~him} <Y's thing> .",
        ],
        "animal": [
            "They met a {mood=moods} {a=animals} from the {a~home} and fed it {a~food} .",
            "A {mood=moods} {a=animals} came out of the {a~home} and begged for {a~food} .",
        ],
        "sum": [
            "<X> bought {n=many} {f=fruit} , ate {m<n} and kept {n-m} .",
            "<X> picked {k=some} {f=fruit} and found {l=few} more , {k+l} in all .",
        ],
        "flock": [
            "The {n1=nouns} {n1~was} {look=looks} .",
            "The {n1=nouns} <place 1> {n1~was} {look=looks} .",
            "The {n1=nouns} <place 1> <place 2> {n1~was} {look=looks} .",
        ],
        "ask": [
            "They asked {j2} for the {g} .",
            "At noon {j2} gave the {g} back .",
        ],
        "chant": [
            "{trouble=troubles} , so they sang <spell> .",
        ],
        "end": [
            "At last they managed to {goal} , and <X> hugged <X's thing> and {joy=joys} .",
            "So <X> and <Y> did {goal} , and {all=everyone} {joy=joys} .",
        ],
    },
    messages={
        "rule": "{expected} became {found} in sentence {sentence} (rule: {rule})",
        "binding": "the {expected} became a {found} in sentence {sentence}",
        "pronoun": "the pronoun should be {expected}, not {found}, in sentence {sentence}",
        "agreement": "the verb should be {expected}, not {found}, in sentence {sentence}",
        "recall": "it was {expected}, not {found}, in sentence {sentence}",
        "spell": "the spell says {expected}, not {found}, in sentence {sentence}",
        "mirror": "the way back passes the {expected}, not the {found}, in sentence {sentence}",
        "sum": "the sum should be {expected}, not {found}, in sentence {sentence}",
        "gift": "the present: {expected} became {found} in sentence {sentence}",
        "fact": "the animal belongs to {expected}, not to {found}, in sentence {sentence}",
        "grammar": "{found} cannot follow {before} in sentence {sentence}; expected something like {options}",
        "begin": "no tale begins with {found}; expected something like {options}",
        "unfinished": "the text stops in sentence {sentence}, before the tale is over",
        "more": "the tale is over, but the text goes on with {found}",
        "valid": "this is a tale",
    },
)
