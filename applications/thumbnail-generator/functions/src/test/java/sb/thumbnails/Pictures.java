package sb.thumbnails;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.imageio.ImageIO;

/** Images for tests. */
final class Pictures {
    private Pictures() {}

    /** Left half red, right half blue; as PNG the upper half of the left is transparent. */
    static byte[] of(String format, int width, int height) {
        int type = format.equals("png") ? BufferedImage.TYPE_INT_ARGB : BufferedImage.TYPE_INT_RGB;
        BufferedImage image = new BufferedImage(width, height, type);
        Graphics2D graphics = image.createGraphics();
        graphics.setColor(Color.BLUE);
        graphics.fillRect(width / 2, 0, width, height);
        graphics.setColor(Color.RED);
        int top = format.equals("png") ? height / 2 : 0;
        graphics.fillRect(0, top, width / 2, height);
        graphics.dispose();
        ByteArrayOutputStream file = new ByteArrayOutputStream();
        try {
            if (!ImageIO.write(image, format, file)) {
                throw new IllegalArgumentException("no writer for " + format);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return file.toByteArray();
    }

    static BufferedImage read(byte[] file) {
        try {
            return ImageIO.read(new ByteArrayInputStream(file));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The image that the workload uploads. */
    static byte[] sample() {
        try {
            return Files.readAllBytes(Path.of("../data/sample.jpg"));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
