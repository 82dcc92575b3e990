import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import java.util.Random;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageOutputStream;

/** Draws the image that the workload uploads, always the same: java data/MakeImage.java data/sample.jpg */
class MakeImage {
    private static final int WIDTH = 1280;
    private static final int HEIGHT = 960;

    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 1) {
            System.err.println("usage: java MakeImage.java FILE");
            System.exit(2);
        }
        Random random = new Random(7);
        // Discs before a sky that grows lighter, with the fine noise that photographs have.
        double[][] discs = new double[24][];
        for (int i = 0; i < discs.length; i++) {
            discs[i] = new double[] {
                random.nextInt(WIDTH), random.nextInt(HEIGHT), 30 + random.nextInt(120),
                random.nextInt(256), random.nextInt(256), random.nextInt(256)
            };
        }
        BufferedImage image = new BufferedImage(WIDTH, HEIGHT, BufferedImage.TYPE_INT_RGB);
        for (int y = 0; y < HEIGHT; y++) {
            for (int x = 0; x < WIDTH; x++) {
                double[] colour = {60 + 120.0 * y / HEIGHT, 100 + 100.0 * y / HEIGHT, 220 - 60.0 * x / WIDTH};
                for (double[] disc : discs) {
                    double distance = Math.hypot(x - disc[0], y - disc[1]) / disc[2];
                    if (distance < 1) {
                        for (int channel = 0; channel < 3; channel++) {
                            colour[channel] = disc[3 + channel] * (1 - 0.6 * distance * distance);
                        }
                    }
                }
                int noise = random.nextInt(9) - 4;
                int rgb = 0;
                for (double channel : colour) {
                    rgb = rgb << 8 | Math.max(0, Math.min(255, (int) channel + noise));
                }
                image.setRGB(x, y, rgb);
            }
        }
        ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
        File file = new File(arguments[0]);
        file.delete();
        try (ImageOutputStream output = ImageIO.createImageOutputStream(file)) {
            ImageWriteParam parameters = writer.getDefaultWriteParam();
            parameters.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
            parameters.setCompressionQuality(0.8f);
            writer.setOutput(output);
            writer.write(null, new IIOImage(image, null, null), parameters);
        } finally {
            writer.dispose();
        }
    }
}
