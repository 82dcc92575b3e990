import unittest

import picture


def png(comment):
    """A PNG of no pixels, with a comment."""
    text = b"Comment\0" + comment.encode()
    return picture.PNG + b"\0\0\0\x02IHDRabcrc!" + len(text).to_bytes(4, "big") + b"tEXt" + text + b"crc!"


def jpeg(comment):
    length = (len(comment) + 2).to_bytes(2, "big")
    return b"\xff\xd8\xff\xe0\0\x04ab\xff\xfe" + length + comment.encode() + b"\xff\xda\0\x03x\xff\xd9"


def similarity(one, other):
    return picture.faces(one)[0].similarity(picture.faces(other)[0])


class Pictures(unittest.TestCase):
    def check(self, image, name, count, *looks):
        found = picture.faces(image, name)
        self.assertEqual(len(found), count)
        for face in found:
            self.assertEqual(face.looks, set(looks))
            left, top, width, height = face.bounds
            self.assertTrue(left >= 0 and top >= 0 and left + width <= 1 and top + height <= 1, face)

    def test_words_of_the_image_or_else_of_its_name_say_what_it_shows(self):
        self.check(png(""), None, 1)
        self.check(png("taken in a shop: no face"), "photos/face-1.png", 1)
        self.check(png(""), "photos/no-face.png", 0)
        self.check(png(""), "no-face/ada.png", 1)
        self.check(png("shows: 3 faces"), "no-face.png", 3)
        self.check(png("shows: 1000 faces"), None, 100)
        self.check(jpeg("shows: no face"), "face.jpg", 0)
        self.check(jpeg(""), "a/Ada_Sunglasses.JPG", 1, "sunglasses")
        self.check(jpeg("shows: turned, blurred"), None, 1, "turned", "blurred")
        self.check(jpeg(""), "small-uncertain", 1, "small", "uncertain")

    def test_what_is_cut_off_or_malformed_is_an_image_as_long_as_it_begins_as_one(self):
        for whole, least in ((png("shows: no face"), len(picture.PNG)), (jpeg("shows: no face"), len(picture.JPEG))):
            for end in range(len(whole)):
                if end < least:
                    with self.assertRaises(picture.NoImage):
                        picture.faces(whole[:end])
                else:
                    picture.faces(whole[:end])
        with self.assertRaises(picture.NoImage):
            picture.faces(b"GIF89a")

    def test_the_bytes_alone_make_the_figures_and_the_person(self):
        one, other = png("shows: a"), png("shows: b")
        self.assertEqual(similarity(one, one), 100)
        self.assertLess(similarity(one, other), 30)
        self.assertEqual(similarity(one, other), similarity(other, one))
        self.assertGreaterEqual(similarity(png("shows: person ada, turned"), png("shows: person ada")), 95)
        self.assertLess(similarity(png("shows: person ada"), png("shows: person bob")), 30)

    def test_the_figures_of_an_image_never_change(self):
        [first, second] = picture.faces(png("shows: person ada, 2 faces"))
        self.assertEqual(first.uuid(b"image"), "47b4f2e5-5e52-4c59-a562-366305c0696f")
        self.assertEqual((second.confidence(), second.figure("roll", -5.0, 5.0)), (99.5424, -2.093))


if __name__ == "__main__":
    unittest.main()
