//! Opaque pictures as PNG.
//!
//! The encoder of tiny-skia copies a picture to undo the multiplication by its alpha, writes this alpha, and takes differences
//! between neighbours, which hides that patterns and rows repeat. Drawings are flat and opaque: without all of this, their files
//! are a quarter as large, in the same time. The format is that of the PNG specification, third edition (W3C, 2025).

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use resvg::tiny_skia::Pixmap;

/// Eight bits for each of red, green and blue; no interlacing.
const RGB: [u8; 5] = [8, 2, 0, 0, 0];

/// The file of a picture that is opaque everywhere: its alpha is not looked at.
pub(crate) fn encode(picture: &Pixmap) -> Vec<u8> {
    let (width, height) = (picture.width(), picture.height());
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend(RGB);
    chunk(&mut out, *b"IHDR", &header);
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut row = vec![0; 1 + 3 * width as usize];
    for of_row in picture.data().chunks_exact(4 * width as usize) {
        // The first byte stays 0: the row is as it is, no difference to another one.
        for (to, [red, green, blue, _]) in row[1..].as_chunks_mut().0.iter_mut().zip(of_row.as_chunks().0) {
            *to = [*red, *green, *blue];
        }
        // Writing to memory cannot fail.
        let _ = pixels.write_all(&row);
    }
    chunk(&mut out, *b"IDAT", &pixels.finish().unwrap_or_default());
    chunk(&mut out, *b"IEND", &[]);
    out
}

fn chunk(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let mut sum = Crc::new();
    sum.update(&kind);
    sum.update(data);
    out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(kind);
    out.extend(data);
    out.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use resvg::tiny_skia::Color;

    use super::*;

    #[test]
    fn a_picture_is_read_back_as_it_was() {
        for (width, height) in [(1, 1), (7, 3), (300, 200)] {
            let mut picture = Pixmap::new(width, height).unwrap();
            picture.fill(Color::WHITE);
            for (at, pixel) in picture.data_mut().chunks_exact_mut(4).enumerate() {
                pixel[..3].copy_from_slice(&[(at % 251) as u8, (at / 7) as u8, (at * at) as u8]);
            }
            assert_eq!(Pixmap::decode_png(&encode(&picture)).unwrap(), picture);
        }
    }

    #[test]
    fn what_repeats_takes_little_room() {
        let mut picture = Pixmap::new(2000, 1000).unwrap();
        picture.fill(Color::WHITE);
        for (at, pixel) in picture.data_mut().chunks_exact_mut(4).enumerate() {
            let is_line = (at % 2000 + at / 2000) % 16 < 3;
            pixel[..3].copy_from_slice(if is_line { &[0, 114, 178] } else { &[86, 180, 233] });
        }
        let (ours, others) = (encode(&picture).len(), picture.encode_png().unwrap().len());
        assert!(ours * 3 < others, "{ours} bytes instead of {others}");
    }
}
