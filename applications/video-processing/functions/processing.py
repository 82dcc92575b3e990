"""A video made grey and encoded anew. Knows neither Lambda nor storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
from aws_xray_sdk.core import xray_recorder

# What one invocation can do within its time; also keeps a broken header from exhausting the disk.
MOST_FRAMES = 3_000
MOST_PIXELS = 1920 * 1080

FORMATS = {"mp4": ("mp4v", "video/mp4"), "avi": ("MJPG", "video/x-msvideo")}


class UnusableVideo(Exception):
    """Nothing can be made of this file."""


@dataclass(frozen=True)
class Processed:
    frames: int
    width: int
    height: int
    frames_per_second: float


def greyscale(source: Path, target: Path, form: str, scale: float = 1.0) -> Processed:
    """Writes `source` to `target` in shades of grey, in the format `form`, its sides times `scale`.

    Frames are read, changed and written one by one, so memory does not grow with the length. What is written of a video
    that cannot be processed is removed.
    """
    codec, _ = FORMATS[form]
    reader = cv2.VideoCapture(str(source))
    writer = None
    done = False
    try:
        if not reader.isOpened():
            raise UnusableVideo("it is not a video that can be decoded")
        rate = reader.get(cv2.CAP_PROP_FPS)
        if not 0 < rate <= 240:
            raise UnusableVideo(f"it has {rate:g} frames per second")
        width, height = (int(reader.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if not 0 < width * height <= MOST_PIXELS:
            raise UnusableVideo(f"its pictures have {width} x {height} pixels; {MOST_PIXELS} are allowed")
        # Encoders want sides that are even.
        size = tuple(max(2, round(side * scale / 2) * 2) for side in (width, height))
        writer = cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*codec), rate, size, isColor=True)
        if not writer.isOpened():
            raise RuntimeError(f"no encoder for {codec}")
        frames = 0
        with xray_recorder.in_subsegment("greyscale and transcode"):
            while True:
                read, picture = reader.read()
                if not read:
                    break
                frames += 1
                if frames > MOST_FRAMES:
                    raise UnusableVideo(f"it has more than {MOST_FRAMES} frames")
                if (picture.shape[1], picture.shape[0]) != size:
                    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
                grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
                # The encoders take three channels; that they are equal makes the picture grey.
                writer.write(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
        if frames == 0:
            raise UnusableVideo("it has no frame that can be decoded")
        done = True
        return Processed(frames, size[0], size[1], rate)
    finally:
        reader.release()
        if writer is not None:
            writer.release()
        if not done:
            target.unlink(missing_ok=True)
