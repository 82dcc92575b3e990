"""Writes the video that the workload uses, always the same: make_video.py FILE.avi

Motion JPEG in an AVI file, in colour, made with nothing but the standard library: three seconds of discs that move over a
gradient. Of each block of 8 x 8 pixels the mean and the two lowest frequencies are kept, so the picture is coarse, but it
is a real JPEG that a decoder has to decode. Sources: ITU-T T.81 (JPEG) and Microsoft's "AVI RIFF File Reference".
"""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path

WIDTH, HEIGHT = 480, 272
RATE, FRAMES = 15, 45
QUANT = 8
BLOCK = 8

# Huffman tables of our own: all codes of one length, so that code and symbol are easily told from each other.
# The mean's symbols are bit lengths from 0 to 11. The frequencies' are run (high half) and bit length (low half); 0 ends a block.
DC_SYMBOLS = list(range(12))
AC_SYMBOLS = [0x00] + [run << 4 | size for run in (0, 1) for size in range(1, 11)]
CODE_LENGTH = 5


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def huffman_table(number: int, symbols: list[int]) -> bytes:
    counts = bytes(len(symbols) if length == CODE_LENGTH else 0 for length in range(1, 17))
    return segment(0xC4, bytes([number]) + counts + bytes(symbols))


JPEG_HEADER = (
    b"\xff\xd8"
    + segment(0xDB, bytes([0]) + bytes([QUANT]) * 64)
    + segment(0xC0, struct.pack(">BHHB", 8, HEIGHT, WIDTH, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]))
    + huffman_table(0x00, DC_SYMBOLS)
    + huffman_table(0x10, AC_SYMBOLS)
    + segment(0xDA, bytes([3, 1, 0x00, 2, 0x00, 3, 0x00, 0, 63, 0]))
)


class Bits:
    """Bits of entropy-coded data; a byte 0xFF is followed by 0, as decoders expect."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.pending, self.count = 0, 0

    def put(self, value: int, length: int) -> None:
        self.pending = self.pending << length | value
        self.count += length
        while self.count >= 8:
            self.count -= 8
            byte = self.pending >> self.count & 0xFF
            self.bytes.append(byte)
            if byte == 0xFF:
                self.bytes.append(0)
        self.pending &= (1 << self.count) - 1

    def put_number(self, number: int, code_of: dict[int, int], run: int = 0) -> None:
        size = abs(number).bit_length()
        self.put(code_of[run << 4 | size], CODE_LENGTH)
        if size:
            self.put(number if number > 0 else number + (1 << size) - 1, size)

    def finished(self) -> bytes:
        if self.count:
            rest = 8 - self.count
            self.put((1 << rest) - 1, rest)
        return bytes(self.bytes)


DC_CODE = {symbol: code for code, symbol in enumerate(DC_SYMBOLS)}
AC_CODE = {symbol: code for code, symbol in enumerate(AC_SYMBOLS)}


def colour(x: float, y: float, time: float) -> tuple[float, float, float]:
    """Luminance and chrominance (Y, Cb, Cr) at a place and time."""
    light, blue, red = 60 + 120 * y / HEIGHT, 128 + 60 * math.cos(x / WIDTH * 3 + time), 128 + 40 * math.sin(time)
    for disc in range(5):
        angle = time * (0.7 + 0.3 * disc) + disc * 1.3
        centre_x, centre_y = WIDTH * (0.5 + 0.4 * math.cos(angle)), HEIGHT * (0.5 + 0.35 * math.sin(angle * 1.7))
        if (x - centre_x) ** 2 + (y - centre_y) ** 2 < (30 + 12 * disc) ** 2:
            light, blue, red = 220 - 30 * disc, 60 + 40 * disc, 210 - 35 * disc
    return light, blue, red


def frame(number: int) -> bytes:
    """One picture as a JPEG file."""
    time = number / RATE
    columns, rows = WIDTH // BLOCK, HEIGHT // BLOCK
    grid = [[colour((c + 0.5) * BLOCK, (r + 0.5) * BLOCK, time) for c in range(columns + 1)] for r in range(rows + 1)]
    bits, before = Bits(), [0, 0, 0]
    for row in range(rows):
        for column in range(columns):
            for channel in range(3):
                here = grid[row][column][channel]
                # The mean has a gain of 8; a slope from block to block becomes the lowest frequency in that direction.
                mean = round((here - 128) * 8 / QUANT)
                across = round((here - grid[row][column + 1][channel]) * 2.5 / QUANT)
                down = round((here - grid[row + 1][column][channel]) * 2.5 / QUANT)
                bits.put_number(mean - before[channel], DC_CODE)
                before[channel] = mean
                if across:
                    bits.put_number(across, AC_CODE)
                if down:
                    bits.put_number(down, AC_CODE, run=0 if across else 1)
                bits.put(AC_CODE[0], CODE_LENGTH)
    return JPEG_HEADER + bits.finished() + b"\xff\xd9"


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def chunks(kind: bytes, name: bytes, content: bytes) -> bytes:
    return chunk(kind, name + content)


def video(pictures: list[bytes]) -> bytes:
    """An AVI file of JPEG pictures, with an index."""
    largest = max(map(len, pictures))
    main_header = struct.pack(
        "<14I", 1_000_000 // RATE, largest * RATE, 0, 0x10, len(pictures), 0, 1, largest, WIDTH, HEIGHT, 0, 0, 0, 0
    )
    stream_header = b"vidsMJPG" + struct.pack(
        "<IHHIIIIIIIIhhhh", 0, 0, 0, 0, 1, RATE, 0, len(pictures), largest, 0xFFFFFFFF, 0, 0, 0, WIDTH, HEIGHT
    )
    picture_format = struct.pack("<IiiHH4sIiiII", 40, WIDTH, HEIGHT, 1, 24, b"MJPG", WIDTH * HEIGHT * 3, 0, 0, 0, 0)
    stream = chunks(b"LIST", b"strl", chunk(b"strh", stream_header) + chunk(b"strf", picture_format))
    movie, index, place = b"", b"", 4
    for picture in pictures:
        part = chunk(b"00dc", picture)
        index += b"00dc" + struct.pack("<III", 0x10, place, len(picture))
        movie, place = movie + part, place + len(part)
    headers = chunks(b"LIST", b"hdrl", chunk(b"avih", main_header) + stream)
    return chunks(b"RIFF", b"AVI ", headers + chunks(b"LIST", b"movi", movie) + chunk(b"idx1", index))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: make_video.py FILE.avi")
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(video([frame(number) for number in range(FRAMES)]))


if __name__ == "__main__":
    main()
