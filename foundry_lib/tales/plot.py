"""The plot: which scene may follow, with its probability. It is the same in both languages.

Two friends, each with a thing, want something and set out. They learn a spell, or give a present away, or both. Then
events happen; the probability of another one falls each time. Last, the present comes back, the spell is needed, and
the tale ends.
"""

OPENING = ("hero", "friend", "quest", "pack")
FIRST_SETUP = {"spell": 0.6, "gift": 0.4}
GIFT_AFTER_SPELL = 0.25
EVENTS = {"sum": 0.26, "path": 0.21, "flock": 0.2, "animal": 0.19, "things": 0.14}
HAZARD = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # the probability that no event follows, after 0, 1, 2, ... events
PAYOFFS = {"gift": "ask", "spell": "chant"}  # what each setup leads to, in this order


def next_scenes(done: tuple) -> dict[str, float]:
    """Scene → probability, after the scenes so far, in which every event is called "event". Empty at the end.

    >>> next_scenes(("hero",)), next_scenes(("hero", "friend", "quest", "pack"))
    ({'friend': 1.0}, {'spell': 0.6, 'gift': 0.4})
    """
    if len(done) < len(OPENING):
        return {OPENING[len(done)]: 1.0}
    last = done[-1]
    if last == "end":
        return {}
    if last == "pack":
        return dict(FIRST_SETUP)
    chances, left = {}, 1.0
    if last == "spell":
        chances["gift"] = GIFT_AFTER_SPELL
        left -= GIFT_AFTER_SPELL
    if last not in PAYOFFS.values():
        stop = HAZARD[done.count("event")]
        chances |= {event: left * (1 - stop) * p for event, p in EVENTS.items()}
        left *= stop
    then = next((payoff for setup, payoff in PAYOFFS.items() if setup in done and payoff not in done), "end")
    chances[then] = left
    return {scene: p for scene, p in chances.items() if p > 0}
