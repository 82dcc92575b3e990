import os
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

# Without Lambda there is no segment to hang subsegments on.
os.environ["AWS_XRAY_SDK_ENABLED"] = "false"
sys.path.insert(0, str(Path(__file__).parents[2] / "data"))

import cv2
import numpy

import make_video
import processing
from processing import UnusableVideo

CLIP = make_video.video([make_video.frame(number) for number in range(6)])


def frames_of(file: Path) -> list[numpy.ndarray]:
    reader = cv2.VideoCapture(str(file))
    pictures = []
    while True:
        read, picture = reader.read()
        if not read:
            return pictures
        pictures.append(picture.astype(int))


def colourfulness(picture: numpy.ndarray) -> int:
    return int((picture.max(axis=2) - picture.min(axis=2)).max())


class Greyscale(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.source, self.target = Path(folder.name, "in.avi"), Path(folder.name, "out")
        self.source.write_bytes(CLIP)

    def test_every_frame_gets_grey_and_stays_itself(self):
        for form in processing.FORMATS:
            with self.subTest(form):
                target = self.target.with_suffix("." + form)
                result = processing.greyscale(self.source, target, form)
                self.assertEqual((result.frames, result.width, result.height), (6, 480, 272))
                self.assertEqual(result.frames_per_second, make_video.RATE)
                before, after = frames_of(self.source), frames_of(target)
                self.assertEqual((len(before), len(after)), (6, 6))
                for old, new in zip(before, after):
                    self.assertGreater(colourfulness(old), 100)
                    self.assertLess(colourfulness(new), 12)
                    grey = 0.114 * old[:, :, 0] + 0.587 * old[:, :, 1] + 0.299 * old[:, :, 2]
                    self.assertLess(float(abs(grey - new.mean(axis=2)).mean()), 6)

    def test_the_result_is_in_the_format_that_was_asked_for(self):
        for form, codec in (("mp4", "FMP4"), ("avi", "MJPG")):
            target = self.target.with_suffix("." + form)
            processing.greyscale(self.source, target, form)
            code = int(cv2.VideoCapture(str(target)).get(cv2.CAP_PROP_FOURCC))
            self.assertEqual("".join(chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24)), codec)

    def test_sides_are_scaled_and_even(self):
        for scale, size in ((0.5, (240, 136)), (0.3, (144, 82)), (0.1, (48, 28))):
            target = self.target.with_suffix(".mp4")
            result = processing.greyscale(self.source, target, "mp4", scale)
            self.assertEqual((result.width, result.height), size)
            self.assertEqual(frames_of(target)[0].shape, (size[1], size[0], 3))

    def test_files_that_are_no_videos_are_refused_and_leave_nothing(self):
        for name, content in {"empty": b"", "text": b"hello" * 100, "header only": CLIP[:300]}.items():
            with self.subTest(name):
                self.source.write_bytes(content)
                with self.assertRaises(UnusableVideo):
                    processing.greyscale(self.source, self.target.with_suffix(".mp4"), "mp4")
                self.assertFalse(self.target.with_suffix(".mp4").exists())

    def test_what_takes_too_long_is_refused_and_leaves_nothing(self):
        for limit, value in (("MOST_FRAMES", 5), ("MOST_PIXELS", 480 * 272 - 1)):
            with self.subTest(limit), unittest.mock.patch.object(processing, limit, value):
                with self.assertRaises(UnusableVideo):
                    processing.greyscale(self.source, self.target.with_suffix(".mp4"), "mp4")
                self.assertFalse(self.target.with_suffix(".mp4").exists())

    def test_a_video_that_ends_early_gives_the_frames_it_has(self):
        self.source.write_bytes(CLIP[: len(CLIP) * 2 // 3])
        result = processing.greyscale(self.source, self.target.with_suffix(".mp4"), "mp4")
        self.assertIn(result.frames, range(2, 6))


class Sample(unittest.TestCase):
    def test_it_is_the_same_everywhere(self):
        self.assertEqual(make_video.frame(3), make_video.frame(3))
        self.assertNotEqual(make_video.frame(3), make_video.frame(4))
