import json
import unittest

import hello


class Hello(unittest.TestCase):
    def test_a_name_is_greeted_and_always_has_the_same_digest(self):
        first, second = hello.greet("ada", 10), hello.greet("ada", 10)
        self.assertEqual(first["message"], "hello, ada")
        self.assertEqual(first, second)
        self.assertNotEqual(first["digest"], hello.greet("grace", 10)["digest"])

    def test_the_handler_answers_with_and_without_a_name(self):
        for parameters, message in [(None, "hello, world"), ({"name": "ada"}, "hello, ada")]:
            answer = hello.handler({"queryStringParameters": parameters}, None)
            self.assertEqual(answer["statusCode"], 200)
            self.assertEqual(json.loads(answer["body"])["message"], message)


if __name__ == "__main__":
    unittest.main()
