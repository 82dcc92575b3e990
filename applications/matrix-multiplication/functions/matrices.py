"""Matrices of whole numbers: made, cut, multiplied, joined and checked. Knows neither Lambda nor storage.

Plain Python on purpose: with numpy a product of this size takes a millisecond, and there would be nothing to distribute.
Whole numbers are exact, so results can be compared and not only approximated.
"""

from __future__ import annotations

import random
import struct
import sys
from array import array
from dataclasses import dataclass
from operator import mul

HEADER = struct.Struct("<4sII")
MAGIC = b"MAT1"
LARGEST_ENTRY = 99


@dataclass(frozen=True)
class Matrix:
    """Rows of equal length, at least one of at least one number."""

    rows: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if not self.rows or not self.rows[0] or any(len(row) != len(self.rows[0]) for row in self.rows):
            raise ValueError("a matrix has rows of equal length, at least one of at least one number")

    @property
    def height(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        return len(self.rows[0])

    def transposed(self) -> Matrix:
        return Matrix(tuple(zip(*self.rows)))

    def to_bytes(self) -> bytes:
        """Height, width and then the numbers row by row, in 8 bytes each, the lowest first."""
        numbers = array("q")
        for row in self.rows:
            numbers.extend(row)
        if sys.byteorder == "big":
            numbers.byteswap()
        return HEADER.pack(MAGIC, self.height, self.width) + numbers.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Matrix:
        if len(content) < HEADER.size:
            raise ValueError(f"{len(content)} bytes are too few for a matrix")
        magic, height, width = HEADER.unpack_from(content)
        if magic != MAGIC:
            raise ValueError("these bytes are no matrix")
        if len(content) != HEADER.size + 8 * height * width:
            raise ValueError(f"{len(content)} bytes are not those of a matrix of {height} x {width}")
        numbers = array("q")
        numbers.frombytes(content[HEADER.size :])
        if sys.byteorder == "big":
            numbers.byteswap()
        return cls(tuple(tuple(numbers[start : start + width]) for start in range(0, height * width, width)))


def random_matrix(size: int, seed: str) -> Matrix:
    """A square matrix of numbers from -99 to 99, the same for the same seed on every machine."""
    numbers = random.Random(seed).choices(range(-LARGEST_ENTRY, LARGEST_ENTRY + 1), k=size * size)
    return Matrix(tuple(tuple(numbers[start : start + size]) for start in range(0, size * size, size)))


def product(left: Matrix, right: Matrix) -> Matrix:
    if left.width != right.height:
        raise ValueError(f"{left.height} x {left.width} and {right.height} x {right.width} cannot be multiplied")
    columns = right.transposed().rows
    return Matrix(tuple(tuple(sum(map(mul, row, column)) for column in columns) for row in left.rows))


def bounds(size: int, parts: int) -> list[tuple[int, int]]:
    """Cuts `size` rows into `parts` ranges, none empty, whose lengths differ by at most one."""
    if not 1 <= parts <= size:
        raise ValueError(f"{size} rows cannot be cut into {parts} parts")
    return [(part * size // parts, (part + 1) * size // parts) for part in range(parts)]


def row_strips(matrix: Matrix, parts: int) -> list[Matrix]:
    return [Matrix(matrix.rows[first:end]) for first, end in bounds(matrix.height, parts)]


def column_strips(matrix: Matrix, parts: int) -> list[Matrix]:
    return [strip.transposed() for strip in row_strips(matrix.transposed(), parts)]


def joined(blocks: list[list[Matrix]]) -> Matrix:
    """The matrix of which `blocks` are the parts, row by row of parts."""
    rows: list[tuple[int, ...]] = []
    for line in blocks:
        if len({block.height for block in line}) != 1:
            raise ValueError("blocks beside each other differ in height")
        for parts in zip(*(block.rows for block in line)):
            rows.append(tuple(number for part in parts for number in part))
    return Matrix(tuple(rows))


def is_product(left: Matrix, right: Matrix, result: Matrix, seed: str) -> bool:
    """Freivalds' check: whether left · (right · x) = result · x for a random x.

    It costs the square of the size, not the cube. A wrong result passes with a probability below 2^-31.
    """
    if (result.height, result.width) != (left.height, right.width):
        return False
    x = random.Random(seed).choices(range(2**31), k=right.width)
    inner = [sum(map(mul, row, x)) for row in right.rows]
    return all(
        sum(map(mul, left_row, inner)) == sum(map(mul, result_row, x))
        for left_row, result_row in zip(left.rows, result.rows)
    )
