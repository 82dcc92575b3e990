import gzip
import json
import math
import os
import re
import sys
import unittest
from collections import Counter
from pathlib import Path

# Without Lambda there is no segment to hang subsegments on.
os.environ["AWS_XRAY_SDK_ENABLED"] = "false"
sys.path.insert(0, str(Path(__file__).parents[2] / "data"))

import make_reviews
import training
from training import Settings, UnusableDataset


def dataset(count: int = 400) -> tuple[list[str], list[int]]:
    pairs = make_reviews.reviews(count, 3)
    return [text for _, text in pairs], [label for label, _ in pairs]


def chance_by_file(model: dict, text: str) -> float:
    """What the written model says of a text, without scikit-learn."""
    words = re.findall(model["tokens"]["pattern"], text.lower())
    counts = Counter(words + [f"{first} {second}" for first, second in zip(words, words[1:])])
    weights = {
        feature: (1 + math.log(counts[feature])) * idf for feature, idf, _ in model["features"] if counts[feature]
    }
    length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
    coefficients = {feature: coefficient for feature, _, coefficient in model["features"]}
    sum_ = sum(weight / length * coefficients[feature] for feature, weight in weights.items())
    return 1 / (1 + math.exp(-(sum_ + model["intercept"])))


class Training(unittest.TestCase):
    def test_it_learns_what_can_be_learned(self):
        texts, labels = dataset()
        trained = training.train(texts, labels, Settings())
        self.assertEqual(trained.rows, {"learned": 300, "tested": 100})
        self.assertGreater(trained.metrics["accuracy"], 0.85)
        self.assertGreater(trained.metrics["roc_auc"], 0.85)
        self.assertTrue(trained.converged)

    def test_it_learns_nothing_from_labels_without_meaning(self):
        texts, labels = dataset()
        trained = training.train(texts, [number // 2 % 2 for number in range(len(labels))], Settings())
        self.assertLess(trained.metrics["accuracy"], 0.7)

    def test_the_same_seed_gives_the_same_model(self):
        texts, labels = dataset()
        first, second = (training.train(texts, labels, Settings(seed=4)) for _ in range(2))
        self.assertEqual(first.to_json(), second.to_json())
        self.assertEqual(first.metrics, second.metrics)
        self.assertNotEqual(first.metrics, training.train(texts, labels, Settings(seed=5)).metrics)

    def test_the_file_says_what_the_classifier_says(self):
        texts, labels = dataset()
        trained = training.train(texts, labels, Settings(max_features=300))
        model = json.loads(gzip.decompress(trained.to_json()))
        self.assertEqual(len(model["features"]), 300)
        probe = texts[:40] + ["the handle broke, a terrible lamp", "unknown words only: qwertz"]
        expected = trained.classifier.predict_proba(trained.vectorizer.transform(probe))[:, 1]
        for text, chance in zip(probe, expected):
            self.assertAlmostEqual(chance_by_file(model, text), chance, places=6)

    def test_texts_without_words_are_refused(self):
        with self.assertRaises(UnusableDataset):
            training.train(["!"] * 40, [0, 1] * 20, Settings())


class Reading(unittest.TestCase):
    def test_quoted_texts_and_line_breaks(self):
        rows = "".join(f'{number % 2},"good, ""really"" good\nnumber {number}"\n' for number in range(20))
        texts, labels = training.read_reviews(("label,text\n" + rows).encode())
        self.assertEqual(texts[7], 'good, "really" good\nnumber 7')
        self.assertEqual(labels, [0, 1] * 10)

    def test_files_from_which_nothing_can_be_learned_are_refused(self):
        good = "".join(f"{number % 2},text {number}\n" for number in range(40))
        for name, content in {
            "empty": b"",
            "no header": good.encode(),
            "another header": ("label,review\n" + good).encode(),
            "too few": b"label,text\n0,a\n1,b\n",
            "one label": ("label,text\n" + "1,good\n" * 40).encode(),
            "a label that is none": ("label,text\n" + good + "2,x\n").encode(),
            "a text that is empty": ("label,text\n" + good + "1,\n").encode(),
            "a column too many": ("label,text\n" + good + "1,x,y\n").encode(),
            "a column too few": ("label,text\n" + good + "1\n").encode(),
            "not UTF-8": b"label,text\n" + good.encode() + b"1,\xff\n",
            "an open quote": ("label,text\n" + good + '1,"x\n').encode(),
        }.items():
            with self.subTest(name), self.assertRaises(UnusableDataset):
                training.read_reviews(content)


class Reviews(unittest.TestCase):
    def test_they_are_the_same_everywhere(self):
        self.assertEqual(make_reviews.reviews(50, 1), make_reviews.reviews(50, 1))
        labels = [label for label, _ in make_reviews.reviews(100, 1)]
        self.assertEqual((labels.count(0), labels.count(1)), (50, 50))
