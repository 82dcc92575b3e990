package sb.thumbnails;

import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Iterator;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageReadParam;
import javax.imageio.ImageReader;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.ImageOutputStream;

/** A small version of an image, in the image's own format and proportions. It knows neither Lambda nor a store. */
record Thumbnail(byte[] file, ImageFormat format, int width, int height) {
    /** More pixels than any camera takes: a small file that claims more is made to exhaust the memory. */
    static final long MAX_PIXELS = 100_000_000;

    private static final float JPEG_QUALITY = 0.85f;

    /**
     * Makes a thumbnail whose longer side has at most {@code maxSide} pixels. An image that is small already is only
     * encoded anew.
     */
    static Thumbnail of(byte[] image, int maxSide) throws UnusableImage {
        ImageFormat format =
                ImageFormat.of(image).orElseThrow(() -> new UnusableImage("neither a JPEG nor a PNG image"));
        BufferedImage read = read(image, format, maxSide);
        BufferedImage small = scale(read, format, maxSide);
        return new Thumbnail(write(small, format), format, small.getWidth(), small.getHeight());
    }

    /** Reads every n-th pixel of an image that is much larger than needed: at least twice the size that is asked for. */
    private static BufferedImage read(byte[] image, ImageFormat format, int maxSide) throws UnusableImage {
        Iterator<ImageReader> readers = ImageIO.getImageReadersByFormatName(format.imageIoName);
        ImageReader reader = readers.next();
        try (ImageInputStream input = ImageIO.createImageInputStream(new ByteArrayInputStream(image))) {
            reader.setInput(input, true, true);
            int width = reader.getWidth(0);
            int height = reader.getHeight(0);
            if ((long) width * height > MAX_PIXELS) {
                throw new UnusableImage(width + " x " + height + " pixels are more than " + MAX_PIXELS);
            }
            int every = Math.max(1, Math.max(width, height) / (2 * maxSide));
            ImageReadParam parameters = reader.getDefaultReadParam();
            parameters.setSourceSubsampling(every, every, 0, 0);
            return reader.read(0, parameters);
        } catch (IOException | RuntimeException error) {
            // ImageIO reports broken files by exceptions of many kinds.
            throw new UnusableImage("not a readable " + format + " image: " + error.getMessage(), error);
        } finally {
            reader.dispose();
        }
    }

    private static BufferedImage scale(BufferedImage image, ImageFormat format, int maxSide) {
        double factor = Math.min(1.0, (double) maxSide / Math.max(image.getWidth(), image.getHeight()));
        int width = Math.max(1, (int) Math.round(image.getWidth() * factor));
        int height = Math.max(1, (int) Math.round(image.getHeight() * factor));
        // JPEG has no transparency.
        int type = format == ImageFormat.JPEG ? BufferedImage.TYPE_INT_RGB : BufferedImage.TYPE_INT_ARGB;
        BufferedImage small = new BufferedImage(width, height, type);
        Graphics2D graphics = small.createGraphics();
        try {
            graphics.setRenderingHint(RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR);
            graphics.drawImage(image, 0, 0, width, height, null);
        } finally {
            graphics.dispose();
        }
        return small;
    }

    private static byte[] write(BufferedImage image, ImageFormat format) throws UnusableImage {
        ImageWriter writer = ImageIO.getImageWritersByFormatName(format.imageIoName).next();
        ByteArrayOutputStream file = new ByteArrayOutputStream();
        try (ImageOutputStream output = ImageIO.createImageOutputStream(file)) {
            ImageWriteParam parameters = writer.getDefaultWriteParam();
            if (format == ImageFormat.JPEG) {
                parameters.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
                parameters.setCompressionQuality(JPEG_QUALITY);
            }
            writer.setOutput(output);
            writer.write(null, new IIOImage(image, null, null), parameters);
        } catch (IOException error) {
            throw new UnusableImage("cannot be encoded: " + error.getMessage(), error);
        } finally {
            writer.dispose();
        }
        return file.toByteArray();
    }
}
