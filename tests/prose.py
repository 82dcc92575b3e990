#!/usr/bin/env python3
"""Checks the English of the documents, of the command line's help, and of the heads of modules (`//!`).

A sentence has at most 30 words, and some words and phrases are not used. Write for 25 words: `--limit 25` shows what is
longer. Code blocks and tables have no sentences; their words are checked. Code within a sentence counts as one word.

    python3 tests/prose.py [--limit N] [FILE…]
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 30

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", "docs/*.md", "applications/README.md",
             "applications/*/README.md", "examples/*/README.md", "crates/*/README.md"]
HELP = ["src/cli/*.rs"]
HEADS = ["src/**/*.rs", "crates/*/src/**/*.rs"]

# Pattern, and what to write instead.
WORDS = [(re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE), instead) for pattern, instead in [
    (r"dear|dearer", "expensive"),
    (r"puts? up|putting up", "deploy"),
    (r"pay the debt|pays? (?:it|them) back", "clean up"),
    (r"nobody has looked for", "what is missing, and the command that installs it"),
    (r"embedded (?:function )?runtime|local function runtime", "local target"),
    (r"load engines?|engine of the load|built-in load", "load generator"),
    (r"at the end stands?|at its end stands?", "it ends with"),
    (r"changes the exit code", "ends with exit code N"),
    (r"(?:is|are|was|were) told (?:in|by)", "is described in"),
    (r"broken off", "interrupted"),
    (r"gone on with", "continued"),
    (r"cannot but", "must"),
    (r"be it", "whether"),
    (r"look up to", "at most"),
]]

FENCE = re.compile(r"\s*(```|~~~)")
ITEM = re.compile(r"\s*(?:[-*+]|\d+\.)\s+")
HEADING = re.compile(r"#+\s+")
# A full stop, question or exclamation mark, perhaps with closing brackets, before something that begins a sentence.
END = re.compile(r"""(?<=[.!?])[*_)"”]*\s+(?=[*_("“\[]*[A-Z0-9`])""")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|et al|vs|cf|No|Sect?)\.")


def passages(text):
    """The parts of a Markdown text that are read in one go: (line, kind, text), where kind is `text` or `table`."""
    line_of_part, part, fenced, indented, after_blank, in_list = 0, [], False, False, True, False

    def close():
        nonlocal part
        whole, part = " ".join(part), []
        return [(line_of_part, "text", whole)] if whole else []

    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            yield from close()
            fenced = not fenced
            continue
        if fenced:
            continue
        blank = not line.strip()
        # Code by indentation: after a blank line, outside lists.
        indented = line.startswith("    ") and not in_list and (after_blank or indented)
        after_blank = blank
        if blank or indented:
            yield from close()
            continue
        if line.lstrip().startswith("|"):
            yield from close()
            yield number, "table", line
            continue
        item = ITEM.match(line)
        heading = HEADING.match(line)
        if item or heading:
            yield from close()
            line = line[(item or heading).end():]
        if item:
            in_list = True
        elif not line.startswith(" ") and not part:
            in_list = False
        if not part:
            line_of_part = number
        part.append(line.strip())
        if heading:
            yield from close()
    yield from close()


def plain(text):
    """A passage without markup: code is one word, of a link the text is left."""
    text = re.sub(r"<!--.*?-->", "", text)
    text = re.sub(r"(`+).+?\1", "`code`", text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"<https?:[^>]*>", "address", text)


def sentences(text):
    text = ABBREVIATION.sub(lambda found: found.group(1).replace(".", "") + ",", plain(text))
    return [sentence for sentence in END.split(text) if sentence.strip()]


def length(sentence):
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def unwanted(text):
    for pattern, instead in WORDS:
        for found in pattern.finditer(text):
            yield found.start(), f"`{found.group()}`: write `{instead}`"


def check_document(text, limit):
    """Problems of a document: (line, problem)."""
    for line, kind, passage in passages(text):
        for _, problem in unwanted(plain(passage)):
            yield line, problem
        if kind == "table":
            continue
        for sentence in sentences(passage):
            words = length(sentence)
            if words > limit:
                start = " ".join(sentence.split()[:9])
                yield line, f"a sentence of {words} words, more than {limit}: {start} …"


def check_help(text):
    """Problems of a file with help texts: (line, problem)."""
    for number, line in enumerate(text.splitlines(), 1):
        for _, problem in unwanted(line):
            yield number, problem


def check_head(text, limit):
    """Problems of the comment at the head of a module: (line, problem)."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("//!")), len(lines))
    return check_document("\n".join(line[3:].removeprefix(" ") for line in lines[:end]), limit)


def check(path, limit):
    """Problems of a file: (line, problem)."""
    text = path.read_text()
    if path.suffix != ".rs":
        return check_document(text, limit)
    is_help = any(path in ROOT.glob(pattern) for pattern in HELP)
    return sorted([*check_head(text, limit), *(check_help(text) if is_help else [])])


def main():
    parser = argparse.ArgumentParser(description="Checks sentence lengths and words of documents, help texts and module heads.")
    parser.add_argument("--limit", type=int, default=LIMIT, help="words that a sentence may have (default: %(default)s)")
    parser.add_argument("files", nargs="*", metavar="FILE", help="only these (default: all that are checked)")
    given = parser.parse_args()
    if given.files:
        paths = [Path(file).resolve() for file in given.files]
    else:
        paths = sorted({path for pattern in DOCUMENTS + HELP + HEADS for path in ROOT.glob(pattern)})
    count = 0
    for path in paths:
        for line, problem in check(path, given.limit):
            count += 1
            shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            print(f"{shown}:{line}: {problem}")
    print(f"{len(paths)} files, {count} problems" if count else f"{len(paths)} files are in plain English")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
