"""Tests of the check of the English.

    python3 tests/test_prose.py
"""

import unittest

import prose

LONG = " ".join(["word"] * 31)


class Checks(unittest.TestCase):
    def check(self, text, *expected):
        found = [(line, problem.split(":")[0]) for line, problem in prose.check_document(text, 30)]
        self.assertEqual(found, [(line, f"a sentence of {words} words, more than 30") for line, words in expected])

    def test_a_long_sentence_is_found_in_the_line_of_its_paragraph(self):
        self.check(f"# Title\n\nShort. A {LONG[5:]}.\n", (3, 31))

    def test_a_sentence_goes_on_over_lines(self):
        self.check("\n".join(["word " * 16, "word " * 16]), (1, 32))

    def test_each_item_of_a_list_is_a_passage(self):
        self.check("- " + "word " * 16 + "\n- " + "word " * 16 + "\n\n  " + "word " * 16)

    def test_a_sentence_in_an_item_that_goes_on_is_found(self):
        self.check("1. word\n   " + LONG, (1, 32))

    def test_code_and_tables_have_no_sentences(self):
        self.check(f"```sh\n{LONG}\n```\n\n    {LONG}\n\n| {LONG} |\n|---|\n")

    def test_code_within_a_sentence_is_one_word(self):
        self.check("word " * 29 + f"`{LONG}`.")

    def test_an_address_of_a_link_is_no_words(self):
        self.check("word " * 29 + "[word](a b c d e f).")

    def test_sentences_end_before_capitals_and_code(self):
        self.check("word " * 16 + "end. `sb` " + "word " * 16 + "end! **Bold** " + "word " * 16)

    def test_an_abbreviation_does_not_end_a_sentence(self):
        self.check("word " * 20 + "(Scheuner et al. Word) " + "word " * 10, (1, 34))

    def test_unwanted_words_are_found_in_text_and_tables_but_not_in_code(self):
        found = list(prose.check_document("A Dear run.\n\n| x | embedded runtime |\n\n`dear`, a dearth\n\n    dear\n", 30))
        self.assertEqual(found, [(1, "`Dear`: write `expensive`"), (3, "`embedded runtime`: write `local target`")])

    def test_a_long_sentence_in_the_head_of_a_module_is_found_and_one_below_it_is_not(self):
        found = list(prose.check_head(f"//! Short.\n//!\n//! {LONG}\n\n// {LONG}\n", 30))
        self.assertEqual([line for line, _ in found], [3])

    def test_unwanted_words_are_found_in_help(self):
        found = list(prose.check_help("/// Run\n/// At the end stands a table\n"))
        self.assertEqual(found, [(2, "`At the end stands`: write `it ends with`")])


if __name__ == "__main__":
    unittest.main()
