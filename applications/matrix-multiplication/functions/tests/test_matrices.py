import unittest

import matrices
from matrices import Matrix


def direct_product(left: Matrix, right: Matrix) -> Matrix:
    """By the definition, number by number."""
    return Matrix(
        tuple(
            tuple(sum(left.rows[i][k] * right.rows[k][j] for k in range(left.width)) for j in range(right.width))
            for i in range(left.height)
        )
    )


class Products(unittest.TestCase):
    def test_by_hand(self):
        left = Matrix(((1, 2, 3), (4, 5, 6)))
        right = Matrix(((7, 8), (9, 10), (11, 12)))
        self.assertEqual(matrices.product(left, right), Matrix(((58, 64), (139, 154))))

    def test_by_the_definition(self):
        for size in (1, 2, 7, 31):
            with self.subTest(size=size):
                left, right = matrices.random_matrix(size, "a"), matrices.random_matrix(size, "b")
                self.assertEqual(matrices.product(left, right), direct_product(left, right))

    def test_shapes_that_do_not_fit_are_refused(self):
        with self.assertRaises(ValueError):
            matrices.product(Matrix(((1, 2),)), Matrix(((1, 2),)))

    def test_blocks_make_up_the_product(self):
        for size in (1, 2, 5, 13, 24):
            left, right = matrices.random_matrix(size, "a"), matrices.random_matrix(size, "b")
            expected = direct_product(left, right)
            for parts in {1, min(2, size), min(3, size), size}:
                with self.subTest(size=size, parts=parts):
                    blocks = [
                        [matrices.product(row, column) for column in matrices.column_strips(right, parts)]
                        for row in matrices.row_strips(left, parts)
                    ]
                    self.assertEqual(matrices.joined(blocks), expected)


class Parts(unittest.TestCase):
    def test_ranges_cover_everything_evenly(self):
        for size in range(1, 30):
            for parts in range(1, size + 1):
                ranges = matrices.bounds(size, parts)
                self.assertEqual([n for first, end in ranges for n in range(first, end)], list(range(size)))
                lengths = [end - first for first, end in ranges]
                self.assertLessEqual(max(lengths) - min(lengths), 1)

    def test_more_parts_than_rows_are_refused(self):
        for parts in (0, 4):
            with self.assertRaises(ValueError):
                matrices.bounds(3, parts)

    def test_blocks_of_other_heights_are_refused(self):
        with self.assertRaises(ValueError):
            matrices.joined([[Matrix(((1,),)), Matrix(((1,), (2,)))]])


class Check(unittest.TestCase):
    def test_the_product_passes(self):
        left, right = matrices.random_matrix(20, "a"), matrices.random_matrix(20, "b")
        self.assertTrue(matrices.is_product(left, right, matrices.product(left, right), "x"))

    def test_one_wrong_number_does_not(self):
        left, right = matrices.random_matrix(20, "a"), matrices.random_matrix(20, "b")
        correct = matrices.product(left, right)
        for row in range(20):
            for column in (0, 19):
                numbers = [list(line) for line in correct.rows]
                numbers[row][column] += 1
                wrong = Matrix(tuple(map(tuple, numbers)))
                self.assertFalse(matrices.is_product(left, right, wrong, "x"))

    def test_another_shape_does_not(self):
        one = Matrix(((1,),))
        self.assertFalse(matrices.is_product(one, one, Matrix(((1, 1),)), "x"))


class Stored(unittest.TestCase):
    def test_bytes_keep_a_matrix(self):
        for matrix in (Matrix(((-(2**63), 2**63 - 1, 0),)), matrices.random_matrix(9, "a")):
            self.assertEqual(Matrix.from_bytes(matrix.to_bytes()), matrix)

    def test_damaged_bytes_are_refused(self):
        content = matrices.random_matrix(3, "a").to_bytes()
        for damaged in (b"", content[:10], content[:-1], content + b"\0", b"X" + content[1:]):
            with self.assertRaises(ValueError):
                Matrix.from_bytes(damaged)

    def test_a_seed_gives_one_matrix(self):
        self.assertEqual(matrices.random_matrix(5, "1/a"), matrices.random_matrix(5, "1/a"))
        self.assertNotEqual(matrices.random_matrix(5, "1/a"), matrices.random_matrix(5, "1/b"))
        # What was published with a seed must stay the same on every version of Python.
        self.assertEqual(matrices.random_matrix(2, "1/a").rows, ((37, -88), (97, 0)))
