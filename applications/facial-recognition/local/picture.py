"""What the stand-in sees in an image. It looks at no pixel: the words that belong to an image say what it shows, and a hash of its bytes gives
the figures.

Words come from the image itself, from a comment that begins with `shows:` (PNG: a `tEXt` chunk; JPEG: a `COM` segment), else from the name of
the object. Without any, it shows one face that passes every check.
"""

import hashlib
import math
from dataclasses import dataclass

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
COMMENT = "shows:"
# Rekognition's own limit for one image.
MOST_FACES = 100

LOOKS = ("sunglasses", "turned", "small", "blurred", "uncertain")


class NoImage(Exception):
    """The bytes are neither a PNG nor a JPEG."""


@dataclass(frozen=True)
class Face:
    """A face in an image."""

    # Whose face: the same for all faces of a person.
    person: bytes
    # Of this face in this image.
    seed: bytes
    # Left, top, width, height, as shares of the image.
    bounds: tuple
    # Those of LOOKS that hold.
    looks: frozenset

    def figure(self, what, least, most):
        return figure(self.seed, what, least, most)

    def confidence(self):
        least, most = (55.0, 80.0) if "uncertain" in self.looks else (99.0, 100.0)
        return self.figure("confidence", least, most)

    def box(self):
        return dict(zip(("Left", "Top", "Width", "Height"), self.bounds))

    def faults(self):
        """Why a quality filter keeps the face out; none: it does not."""
        reasons = {
            "turned": "EXTREME_POSE",
            "blurred": "LOW_SHARPNESS",
            "uncertain": "LOW_CONFIDENCE",
            "small": "SMALL_BOUNDING_BOX",
        }
        return [reason for look, reason in reasons.items() if look in self.looks]

    def similarity(self, other):
        """Per cent: 100 for the same face, from 95 for another image of the person, below 30 for somebody else."""
        if self.seed == other.seed:
            return 100.0
        both = digest(*sorted((self.seed, other.seed)))
        if self.person == other.person:
            return figure(both, "same", 95.0, 99.9)
        return figure(both, "other", 1.0, 30.0)

    def uuid(self, context):
        """A version 4 UUID that names the face together with `context`."""
        bits = int.from_bytes(digest(self.seed, context)[:16], "big")
        bits = bits & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62
        text = f"{bits:032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def detail(self, attributes):
        """What DetectFaces says of it."""
        left, top, width, height = self.bounds

        def landmark(kind, x, y):
            return {"Type": kind, "X": left + x * width, "Y": top + y * height}

        yaw = (60.0, 80.0) if "turned" in self.looks else (-15.0, 15.0)
        sharpness = (1.0, 8.0) if "blurred" in self.looks else (85.0, 99.0)
        return {
            "BoundingBox": self.box(),
            "Confidence": self.confidence(),
            "Landmarks": [
                landmark("eyeLeft", 0.3, 0.4),
                landmark("eyeRight", 0.7, 0.4),
                landmark("mouthLeft", 0.35, 0.78),
                landmark("mouthRight", 0.65, 0.78),
                landmark("nose", 0.5, 0.6),
            ],
            "Pose": {
                "Roll": self.figure("roll", -5.0, 5.0),
                "Yaw": self.figure("yaw", *yaw),
                "Pitch": self.figure("pitch", -10.0, 10.0),
            },
            "Quality": {
                "Brightness": self.figure("brightness", 70.0, 95.0),
                "Sharpness": self.figure("sharpness", *sharpness),
            },
        } | self.more(attributes)

    def more(self, attributes):
        """What is asked for beyond the default."""

        def certain(name, value):
            return {"Value": value, "Confidence": self.figure(name, 90.0, 99.9)}

        hidden = "sunglasses" in self.looks
        age = math.floor(self.figure("age", 20.0, 60.0))
        all_of_them = {
            "SMILE": ("Smile", certain("Smile", self.figure("smiles", 0.0, 1.0) < 0.5)),
            "EYEGLASSES": ("Eyeglasses", certain("Eyeglasses", hidden)),
            "SUNGLASSES": ("Sunglasses", certain("Sunglasses", hidden)),
            "BEARD": ("Beard", certain("Beard", False)),
            "MUSTACHE": ("Mustache", certain("Mustache", False)),
            "EYES_OPEN": ("EyesOpen", certain("EyesOpen", not hidden)),
            "MOUTH_OPEN": ("MouthOpen", certain("MouthOpen", False)),
            "FACE_OCCLUDED": ("FaceOccluded", certain("FaceOccluded", hidden)),
            "AGE_RANGE": ("AgeRange", {"Low": age, "High": age + 8}),
            "GENDER": ("Gender", certain("Gender", "Female" if self.figure("gender", 0.0, 1.0) < 0.5 else "Male")),
            "EMOTIONS": ("Emotions", [{"Type": "CALM", "Confidence": self.figure("Emotions", 90.0, 99.9)}]),
            "EYE_DIRECTION": ("EyeDirection", {"Yaw": 0.0, "Pitch": 0.0, "Confidence": self.figure("EyeDirection", 90.0, 99.9)}),
        }
        return dict(entry for asked, entry in all_of_them.items() if "ALL" in attributes or asked in attributes)


def faces(image, name=None):
    """The faces of an image, the largest first. `name` is that of its object, where it lies in a bucket."""
    comment = comment_of(image)
    words = words_of(stem(name) if comment is None and name else comment or "")
    looks = frozenset(look for look in LOOKS if look in words)
    count, person = 1, None
    for word, following in zip(words, words[1:]):
        if word == "no" and following in ("face", "faces"):
            return []
        if following == "faces" and word.isascii() and word.isdigit():
            count = min(int(word), MOST_FACES)
        elif word == "person":
            person = following
    content = hashlib.sha256(image).digest()
    return [face(content, index, count, person, looks) for index in range(count)]


def face(content, index, count, person, looks):
    """The face of this number. Several stand side by side, each smaller than the one before."""
    place = index.to_bytes(8, "big")
    seed = digest(content, place)
    least, most = (0.04, 0.06) if "small" in looks else (0.45, 0.6)
    height = figure(seed, "height", least, most) * (1.0 - index / (2.0 * count)) / math.sqrt(count)
    width = min(height * figure(seed, "width", 0.7, 0.85), 0.9 / count)
    left = (index + 0.5) / count - width / 2.0
    whose = seed if person is None else digest(b"person", person.encode(), place)
    return Face(whose, seed, (left, 0.5 - height / 2.0, width, height), looks)


def stem(name):
    """The name of a file without its folder and what follows the last dot."""
    last = name.rsplit("/", 1)[-1]
    return last.rsplit(".", 1)[0]


def words_of(text):
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def comment_of(image):
    """What follows `shows:` in a comment of the image; none: there is no such comment."""
    if image.startswith(PNG):
        found = png_texts(image[len(PNG) :])
    elif image.startswith(JPEG):
        found = jpeg_comments(image[2:])
    else:
        raise NoImage
    texts = (text.decode(errors="replace").lstrip() for text in found)
    return next((text.removeprefix(COMMENT) for text in texts if text.startswith(COMMENT)), None)


def png_texts(chunks):
    """Contents of the `tEXt` chunks, as far as the file is whole."""
    while len(chunks) >= 8:
        length = int.from_bytes(chunks[:4], "big")
        kind, data = chunks[4:8], chunks[8 : 8 + length]
        if len(data) < length:
            return
        if kind == b"tEXt":
            # KEYWORD, a zero, TEXT.
            _, zero, text = data.partition(b"\0")
            if zero:
                yield text
        chunks = chunks[8 + length + 4 :]


def jpeg_comments(segments):
    """Contents of the `COM` segments before the picture itself."""
    while len(segments) >= 4 and segments[0] == 0xFF:
        kind = segments[1]
        # The length counts its own two bytes.
        length = max(int.from_bytes(segments[2:4], "big") - 2, 0)
        data = segments[4 : 4 + length]
        if not (0xC0 <= kind <= 0xD9 or 0xDB <= kind <= 0xFE) or len(data) < length:
            return
        if kind == 0xFE:
            yield data
        segments = segments[4 + length :]


def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()


def figure(seed, what, least, most):
    """A figure of a face, always the same; from `least` to `most`, with four decimals."""
    share = int.from_bytes(digest(seed, what.encode())[:4], "big") / 0xFFFF_FFFF
    exact = (least + share * (most - least)) * 1e4
    return math.copysign(math.floor(abs(exact) + 0.5), exact) / 1e4
