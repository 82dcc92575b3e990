"""A classifier of texts: learned, measured, and written as JSON. Knows neither Lambda nor storage."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import warnings
from dataclasses import dataclass
from typing import Any

from aws_xray_sdk.core import xray_recorder
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support, roc_auc_score
from sklearn.model_selection import train_test_split

FEWEST_ROWS = 20
MOST_ROWS = 200_000


class UnusableDataset(Exception):
    """Nothing can be learned from this file."""


@dataclass(frozen=True)
class Settings:
    """What a training may be told. The defaults suit some thousand short texts."""

    max_features: int = 5000
    regularization: float = 1.0
    test_share: float = 0.25
    seed: int = 1


@dataclass(frozen=True)
class Trained:
    vectorizer: TfidfVectorizer
    classifier: LogisticRegression
    rows: dict[str, int]
    metrics: dict[str, float]
    converged: bool

    def to_json(self) -> bytes:
        """Vocabulary, weights and coefficients, gzipped: unlike a pickle it can be read by any version and any language."""
        features = self.vectorizer.get_feature_names_out()
        model = {
            "format": 1,
            "tokens": {"pattern": self.vectorizer.token_pattern, "lowercase": True, "sublinear_tf": True, "norm": "l2"},
            "features": [
                [feature, round(float(idf), 9), round(float(coefficient), 9)]
                for feature, idf, coefficient in zip(features, self.vectorizer.idf_, self.classifier.coef_[0])
            ],
            "intercept": round(float(self.classifier.intercept_[0]), 9),
        }
        # Without the time, the same model is the same file.
        return gzip.compress(json.dumps(model, separators=(",", ":")).encode(), mtime=0)


def read_reviews(content: bytes) -> tuple[list[str], list[int]]:
    """Texts and labels of a CSV file with the columns `label` (0 or 1) and `text`."""
    try:
        lines = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        if lines.fieldnames is None or set(lines.fieldnames) != {"label", "text"}:
            raise UnusableDataset(f"its columns must be label and text, not {', '.join(lines.fieldnames or ['none'])}")
        texts, labels = [], []
        for line in lines:
            if line["label"] not in ("0", "1") or not line["text"] or None in line:
                raise UnusableDataset(f"line {lines.line_num} is not a label, 0 or 1, and a text")
            texts.append(line["text"])
            labels.append(int(line["label"]))
            if len(texts) > MOST_ROWS:
                raise UnusableDataset(f"it has more than {MOST_ROWS} rows")
    except UnicodeDecodeError as error:
        raise UnusableDataset("it is not UTF-8") from error
    except csv.Error as error:
        raise UnusableDataset(f"it is not CSV: {error}") from error
    if len(texts) < FEWEST_ROWS or min(labels.count(0), labels.count(1)) < FEWEST_ROWS // 4:
        raise UnusableDataset(f"it must have {FEWEST_ROWS} rows, and {FEWEST_ROWS // 4} of each label")
    return texts, labels


def train(texts: list[str], labels: list[int], settings: Settings) -> Trained:
    """Learns from one part of the texts, and measures on the part that was held back."""
    with xray_recorder.in_subsegment("split"):
        learn_texts, test_texts, learn_labels, test_labels = train_test_split(
            texts, labels, test_size=settings.test_share, random_state=settings.seed, stratify=labels
        )
    with xray_recorder.in_subsegment("vectorize"):
        vectorizer = TfidfVectorizer(max_features=settings.max_features, ngram_range=(1, 2), sublinear_tf=True)
        try:
            learn_features = vectorizer.fit_transform(learn_texts)
        except ValueError as error:
            raise UnusableDataset("its texts hold no words") from error
    with xray_recorder.in_subsegment("fit"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier = LogisticRegression(C=settings.regularization, max_iter=500, random_state=settings.seed)
        classifier.fit(learn_features, learn_labels)
        converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    with xray_recorder.in_subsegment("evaluate"):
        chances = classifier.predict_proba(vectorizer.transform(test_texts))[:, 1]
        guesses = [int(chance >= 0.5) for chance in chances]
        precision, recall, f1, _ = precision_recall_fscore_support(
            test_labels, guesses, average="binary", zero_division=0.0
        )
        measured = {
            "accuracy": accuracy_score(test_labels, guesses),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "roc_auc": roc_auc_score(test_labels, chances),
            "log_loss": log_loss(test_labels, chances, labels=[0, 1]),
        }
    return Trained(
        vectorizer=vectorizer,
        classifier=classifier,
        rows={"learned": len(learn_texts), "tested": len(test_texts)},
        metrics={name: round(float(value), 6) for name, value in measured.items()},
        converged=converged,
    )


def settings_of(request: dict[str, Any]) -> Settings:
    """Settings of a request's keys; ValueError says what is wrong with one."""
    settings = Settings(
        max_features=request.get("max_features", Settings.max_features),
        regularization=request.get("regularization", Settings.regularization),
        test_share=request.get("test_share", Settings.test_share),
        seed=request.get("seed", Settings.seed),
    )
    check("max_features", settings.max_features, int, 1, 100_000)
    check("regularization", settings.regularization, (int, float), 1e-6, 1e6)
    check("test_share", settings.test_share, (int, float), 0.1, 0.9)
    check("seed", settings.seed, int, 0, 2**32 - 1)
    return settings


def check(name: str, value: Any, kind: Any, least: float, most: float) -> None:
    # True is a number to Python, but not to JSON; NaN is a number to Python's reader of JSON, and compares as nothing.
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value) or not least <= value <= most:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} must be {what} from {least:g} to {most:g}")
