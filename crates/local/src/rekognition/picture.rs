//! What the stand-in sees in an image. It looks at no pixel: the words that belong to an image say what it shows, and a hash of its
//! bytes gives the figures.
//!
//! Words come from the image itself, from a comment that begins with `shows:` (PNG: a `tEXt` chunk; JPEG: a `COM` segment), else from
//! the name of the object. Without any, it shows one face that passes every check.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const PNG: [u8; 8] = [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];
const COMMENT: &str = "shows:";
/// Rekognition's own limit for one image.
const MOST_FACES: usize = 100;

type Hash = [u8; 32];

/// A face in an image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Face {
    /// Whose face: the same for all faces of a person.
    person: Hash,
    /// Of this face in this image.
    seed: Hash,
    /// Left, top, width, height, as shares of the image.
    bounds: [f64; 4],
    looks: Looks,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Looks {
    sunglasses: bool,
    turned: bool,
    small: bool,
    blurred: bool,
    uncertain: bool,
}

/// An image that is neither PNG nor JPEG.
#[derive(Debug, PartialEq)]
pub(super) struct NoImage;

/// The faces of an image, the largest first. `name` is that of its object, where it lies in a bucket.
pub(super) fn faces(image: &[u8], name: Option<&str>) -> Result<Vec<Face>, NoImage> {
    let comment = comment(image).ok_or(NoImage)?;
    let file = name.map(|name| {
        let last = name.rsplit('/').next().unwrap_or_default();
        last.rsplit_once('.').map_or(last, |(stem, _)| stem)
    });
    let words = comment.as_deref().or(file).unwrap_or_default().to_lowercase();
    let words: Vec<&str> =
        words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let has = |wanted: &str| words.contains(&wanted);
    let looks = Looks {
        sunglasses: has("sunglasses"),
        turned: has("turned"),
        small: has("small"),
        blurred: has("blurred"),
        uncertain: has("uncertain"),
    };
    let mut count = 1;
    let mut person = None;
    for pair in words.windows(2) {
        match pair {
            ["no", "face" | "faces"] => return Ok(Vec::new()),
            [number, "faces"] => count = number.parse().unwrap_or(count).min(MOST_FACES),
            ["person", who] => person = Some(*who),
            _ => {}
        }
    }
    let content: Hash = Sha256::digest(image).into();
    let made = (0..count).map(|index| {
        let seed = hash(&[&content, &index.to_be_bytes()]);
        let person = match person {
            Some(who) => hash(&[b"person", who.as_bytes(), &index.to_be_bytes()]),
            None => seed,
        };
        let mut face = Face { person, seed, bounds: [0.0; 4], looks };
        face.place(index as f64, count as f64);
        face
    });
    Ok(made.collect())
}

/// The comment, if the bytes are an image at all.
#[expect(clippy::option_option, reason = "no image, or an image without a comment")]
fn comment(image: &[u8]) -> Option<Option<String>> {
    let found = if let Some(chunks) = image.strip_prefix(&PNG) {
        png_texts(chunks)
    } else if image.starts_with(&JPEG) {
        jpeg_comments(&image[2..])
    } else {
        return None;
    };
    let text = found
        .into_iter()
        .map(String::from_utf8_lossy)
        .find_map(|text| Some(text.trim_start().strip_prefix(COMMENT)?.to_owned()));
    Some(text)
}

/// Contents of the `tEXt` chunks, as far as the file is whole.
fn png_texts(mut chunks: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((length, rest)) = chunks.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (Some(kind), Some(data)) = (rest.get(..4), rest.get(4..).and_then(|rest| rest.get(..length)))
        else {
            break;
        };
        if kind == b"tEXt" {
            // KEYWORD, a zero, TEXT.
            found.extend(data.splitn(2, |byte| *byte == 0).nth(1));
        }
        chunks = rest.get(4 + length + 4..).unwrap_or_default();
    }
    found
}

/// Contents of the `COM` segments before the picture itself.
fn jpeg_comments(mut segments: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let [0xff, kind, high, low, rest @ ..] = segments {
        // The length counts its own two bytes.
        let length = usize::from(u16::from_be_bytes([*high, *low])).saturating_sub(2);
        let (0xc0..=0xd9 | 0xdb..=0xfe, Some(data)) = (*kind, rest.get(..length)) else {
            break;
        };
        if *kind == 0xfe {
            found.push(data);
        }
        segments = &rest[length..];
    }
    found
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// A figure of a face, always the same; from `least` to `most`.
fn figure(seed: &Hash, what: &str, least: f64, most: f64) -> f64 {
    let digest = hash(&[seed, what.as_bytes()]);
    let share =
        f64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])) / f64::from(u32::MAX);
    ((least + share * (most - least)) * 1e4).round() / 1e4
}

impl Face {
    /// Several stand side by side, each smaller than the one before.
    fn place(&mut self, index: f64, count: f64) {
        let (least, most) = if self.looks.small { (0.04, 0.06) } else { (0.45, 0.6) };
        let height = self.figure("height", least, most) * (1.0 - index / (2.0 * count)) / count.sqrt();
        let width = (height * self.figure("width", 0.7, 0.85)).min(0.9 / count);
        let left = (index + 0.5) / count - width / 2.0;
        self.bounds = [left, 0.5 - height / 2.0, width, height];
    }

    fn figure(&self, what: &str, least: f64, most: f64) -> f64 {
        figure(&self.seed, what, least, most)
    }

    pub fn confidence(&self) -> f64 {
        if self.looks.uncertain {
            self.figure("confidence", 55.0, 80.0)
        } else {
            self.figure("confidence", 99.0, 100.0)
        }
    }

    pub fn bounds(&self) -> Value {
        let [left, top, width, height] = self.bounds;
        json!({ "Left": left, "Top": top, "Width": width, "Height": height })
    }

    /// Why a quality filter keeps the face out; none: it does not.
    pub fn faults(&self) -> Vec<&'static str> {
        [
            (self.looks.turned, "EXTREME_POSE"),
            (self.looks.blurred, "LOW_SHARPNESS"),
            (self.looks.uncertain, "LOW_CONFIDENCE"),
            (self.looks.small, "SMALL_BOUNDING_BOX"),
        ]
        .into_iter()
        .filter_map(|(has, fault)| has.then_some(fault))
        .collect()
    }

    /// Per cent: 100 for the same face, from 95 for another image of the person, below 30 for somebody else.
    pub fn similarity(&self, other: &Self) -> f64 {
        if self.seed == other.seed {
            return 100.0;
        }
        let (first, second) = (self.seed.min(other.seed), self.seed.max(other.seed));
        let both = hash(&[&first, &second]);
        if self.person == other.person {
            figure(&both, "same", 95.0, 99.9)
        } else {
            figure(&both, "other", 1.0, 30.0)
        }
    }

    /// A number that names the face together with `context`.
    pub fn number(&self, context: &[&[u8]]) -> u128 {
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash(&[&[self.seed.as_slice()], context].concat())[..16]);
        u128::from_be_bytes(digest)
    }

    /// What `DetectFaces` says of it.
    pub fn detail(&self, attributes: &[String]) -> Value {
        let [left, top, width, height] = self.bounds;
        let landmark = |kind: &str, x: f64, y: f64| json!({ "Type": kind, "X": left + x * width, "Y": top + y * height });
        let (turn, sharpness) = (
            if self.looks.turned { (60.0, 80.0) } else { (-15.0, 15.0) },
            if self.looks.blurred { (1.0, 8.0) } else { (85.0, 99.0) },
        );
        let mut detail = json!({
            "BoundingBox": self.bounds(),
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
                "Yaw": self.figure("yaw", turn.0, turn.1),
                "Pitch": self.figure("pitch", -10.0, 10.0),
            },
            "Quality": {
                "Brightness": self.figure("brightness", 70.0, 95.0),
                "Sharpness": self.figure("sharpness", sharpness.0, sharpness.1),
            },
        });
        if let Some(detail) = detail.as_object_mut() {
            self.add(attributes, detail);
        }
        detail
    }

    /// What is asked for beyond the default.
    fn add(&self, attributes: &[String], detail: &mut Map<String, Value>) {
        let all = attributes.iter().any(|asked| asked == "ALL");
        let asked = |attribute: &str| all || attributes.iter().any(|asked| asked == attribute);
        let certainty = |name: &str| self.figure(name, 90.0, 99.9);
        let eyes_hidden = self.looks.sunglasses;
        for (attribute, name, value) in [
            ("SMILE", "Smile", self.figure("smiles", 0.0, 1.0) < 0.5),
            ("EYEGLASSES", "Eyeglasses", eyes_hidden),
            ("SUNGLASSES", "Sunglasses", self.looks.sunglasses),
            ("BEARD", "Beard", false),
            ("MUSTACHE", "Mustache", false),
            ("EYES_OPEN", "EyesOpen", !eyes_hidden),
            ("MOUTH_OPEN", "MouthOpen", false),
            ("FACE_OCCLUDED", "FaceOccluded", eyes_hidden),
        ] {
            if asked(attribute) {
                detail.insert(name.to_owned(), json!({ "Value": value, "Confidence": certainty(name) }));
            }
        }
        let age = self.figure("age", 20.0, 60.0).floor() as u32;
        let gender = if self.figure("gender", 0.0, 1.0) < 0.5 { "Female" } else { "Male" };
        for (attribute, name, value) in [
            ("AGE_RANGE", "AgeRange", json!({ "Low": age, "High": age + 8 })),
            ("GENDER", "Gender", json!({ "Value": gender, "Confidence": certainty("Gender") })),
            ("EMOTIONS", "Emotions", json!([{ "Type": "CALM", "Confidence": certainty("Emotions") }])),
            (
                "EYE_DIRECTION",
                "EyeDirection",
                json!({ "Yaw": 0.0, "Pitch": 0.0, "Confidence": certainty("EyeDirection") }),
            ),
        ] {
            if asked(attribute) {
                detail.insert(name.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A PNG of no pixels, with a comment.
    pub fn png(comment: &str) -> Vec<u8> {
        let text = format!("Comment\0{comment}");
        let length = (text.len() as u32).to_be_bytes();
        [PNG.as_slice(), b"\0\0\0\x02", b"IHDR", b"ab", b"crc!", &length, b"tEXt", text.as_bytes(), b"crc!"]
            .concat()
    }

    fn jpeg(comment: &str) -> Vec<u8> {
        let length = (comment.len() as u16 + 2).to_be_bytes();
        [
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xfe".as_slice(),
            &length,
            comment.as_bytes(),
            b"\xff\xda\0\x03x\xff\xd9",
        ]
        .concat()
    }

    #[track_caller]
    fn check(image: &[u8], name: Option<&str>, count: usize, looks: Looks) {
        let found = faces(image, name).unwrap();
        assert_eq!(found.len(), count);
        for face in &found {
            assert_eq!(face.looks, looks);
            let [left, top, width, height] = face.bounds;
            assert!(left >= 0.0 && top >= 0.0 && left + width <= 1.0 && top + height <= 1.0, "{face:?}");
        }
    }

    #[test]
    fn words_of_the_image_or_else_of_its_name_say_what_it_shows() {
        let plain = Looks::default();
        check(&png(""), None, 1, plain);
        check(&png("taken in a shop: no face"), Some("photos/face-1.png"), 1, plain);
        check(&png(""), Some("photos/no-face.png"), 0, plain);
        check(&png(""), Some("no-face/ada.png"), 1, plain);
        check(&png("shows: 3 faces"), Some("no-face.png"), 3, plain);
        check(&png("shows: 1000 faces"), None, 100, plain);
        check(&jpeg("shows: no face"), Some("face.jpg"), 0, plain);
        check(&jpeg(""), Some("a/Ada_Sunglasses.JPG"), 1, Looks { sunglasses: true, ..plain });
        check(&jpeg("shows: turned, blurred"), None, 1, Looks { turned: true, blurred: true, ..plain });
        check(&jpeg(""), Some("small-uncertain"), 1, Looks { small: true, uncertain: true, ..plain });
    }

    #[test]
    fn what_is_cut_off_or_malformed_is_an_image_as_long_as_it_begins_as_one() {
        for whole in [png("shows: no face"), jpeg("shows: no face")] {
            for end in 0..whole.len() {
                let seen = faces(&whole[..end], None).map(|faces| faces.len());
                let least = if whole[0] == 0x89 { PNG.len() } else { JPEG.len() };
                assert_eq!(seen.is_err(), end < least, "{end}: {seen:?}");
            }
        }
        assert_eq!(faces(b"GIF89a", None), Err(NoImage));
    }

    #[test]
    fn the_bytes_alone_make_the_figures_and_the_person() {
        let similarity = |one: &[u8], other: &[u8]| {
            let face = |image| faces(image, None).unwrap().remove(0);
            face(one).similarity(&face(other))
        };
        let (one, other) = (png("shows: a"), png("shows: b"));
        assert!((similarity(&one, &one) - 100.0).abs() < f64::EPSILON);
        assert!(similarity(&one, &other) < 30.0);
        assert_eq!(similarity(&one, &other).to_bits(), similarity(&other, &one).to_bits());
        assert!(similarity(&png("shows: person ada, turned"), &png("shows: person ada")) >= 95.0);
        assert!(similarity(&png("shows: person ada"), &png("shows: person bob")) < 30.0);
    }
}
