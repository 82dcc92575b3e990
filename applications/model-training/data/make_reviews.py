"""Writes the dataset of product reviews that the function learns from, always the same: make_reviews.py FILE

The sentences are put together here; nobody's review is quoted. Some reviews say the opposite of their label, as in real
datasets, so no classifier can be perfect.
"""

import csv
import random
import sys
from pathlib import Path

REVIEWS = 3000
SEED = 20
MISLABELLED = 0.05

THINGS = """kettle lamp backpack keyboard headset blender tent bicycle camera printer jacket watch speaker mattress
toaster drill suitcase monitor vacuum radio umbrella chair phone charger""".split()
PARTS = """handle battery screen zip cable lid switch manual packaging seam lens button strap hinge motor filter
surface display wheel cover""".split()
NEUTRAL = """I bought this {thing} in spring|The {thing} came in a plain box|My sister has the same {thing}
We use the {thing} every week|It replaced an older {thing}|The {part} is made of plastic
The {thing} weighs more than I thought|I compared it with two others|The {part} comes in three colours
Delivery took four days|The {part} can be taken off|I paid the usual price"""
GOOD = """the {part} works perfectly|I am delighted with the {thing}|the {part} feels solid and reliable
an excellent {thing} for the money|setting it up was easy|the {part} still looks like new
I would happily buy it again|the {thing} is quiet and comfortable|great {part}, highly recommended
it does exactly what it should|the support was friendly and quick|a wonderful {thing}"""
BAD = """the {part} broke after a week|I am disappointed by the {thing}|the {part} feels cheap and flimsy
a terrible {thing} for the money|setting it up was a nightmare|the {part} already fell off
I returned it and want a refund|the {thing} is loud and useless|awful {part}, stay away
it never did what it should|the support ignored me for weeks|a waste of money"""


def phrases(text: str) -> list[str]:
    return [phrase for line in text.splitlines() for phrase in line.split("|")]


def reviews(count: int, seed: int) -> list[tuple[int, str]]:
    """Pairs of a label, 1 for content and 0 for discontent, and a text."""
    rng = random.Random(seed)
    neutral, opinions = phrases(NEUTRAL), {1: phrases(GOOD), 0: phrases(BAD)}
    made = []
    for number in range(count):
        label = number % 2
        tone = 1 - label if rng.random() < MISLABELLED else label
        views = rng.sample(opinions[tone], rng.randint(1, 3))
        # Who says more may concede something to the other side.
        if len(views) > 1 and rng.random() < 0.5:
            views.append("even so, " + rng.choice(opinions[1 - tone]))
        sentences = rng.sample(neutral, rng.randint(1, 3)) + views
        rng.shuffle(sentences)
        thing, part = rng.choice(THINGS), rng.choice(PARTS)
        text = ". ".join(sentence.format(thing=thing, part=part) for sentence in sentences) + "."
        made.append((label, text[0].upper() + text[1:]))
    rng.shuffle(made)
    return made


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: make_reviews.py FILE")
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as output:
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(["label", "text"])
        writer.writerows(reviews(REVIEWS, SEED))


if __name__ == "__main__":
    main()
