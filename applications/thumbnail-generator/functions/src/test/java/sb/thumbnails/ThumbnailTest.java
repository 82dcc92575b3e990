package sb.thumbnails;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ThumbnailTest {
    @ParameterizedTest(name = "{0}: {1} x {2} at most {3} is {4} x {5}")
    @CsvSource({
        "jpeg, 1280, 960, 160, 160, 120",
        "jpeg, 960, 1280, 160, 120, 160",
        "jpeg, 1279, 959, 160, 160, 120",
        "png, 800, 800, 160, 160, 160",
        "png, 3000, 2, 160, 160, 1",
        "jpeg, 321, 200, 160, 160, 100",
        "jpeg, 161, 161, 160, 160, 160",
        "jpeg, 160, 90, 160, 160, 90",
        "png, 12, 7, 160, 12, 7",
        "png, 1, 1, 160, 1, 1",
    })
    void theLongerSideFitsAndProportionsStay(
            String format, int width, int height, int maxSide, int expectedWidth, int expectedHeight) throws Exception {
        Thumbnail thumbnail = Thumbnail.of(Pictures.of(format, width, height), maxSide);
        BufferedImage read = Pictures.read(thumbnail.file());
        assertEquals(format, thumbnail.format().imageIoName);
        assertEquals(thumbnail.format(), ImageFormat.of(thumbnail.file()).orElseThrow());
        assertEquals(expectedWidth, read.getWidth());
        assertEquals(expectedHeight, read.getHeight());
        assertEquals(expectedWidth, thumbnail.width());
        assertEquals(expectedHeight, thumbnail.height());
    }

    @Test
    void theContentIsTheImagesContent() throws Exception {
        BufferedImage jpeg = Pictures.read(Thumbnail.of(Pictures.of("jpeg", 1200, 600), 100).file());
        assertColour(jpeg.getRGB(20, 25), 255, 255, 0, 0);
        assertColour(jpeg.getRGB(80, 25), 255, 0, 0, 255);
        BufferedImage png = Pictures.read(Thumbnail.of(Pictures.of("png", 1200, 600), 100).file());
        assertColour(png.getRGB(20, 40), 255, 255, 0, 0);
        assertEquals(0, png.getRGB(20, 10) >>> 24, "transparent pixels stay transparent");
    }

    private static void assertColour(int argb, int... expected) {
        for (int channel = 0; channel < 4; channel++) {
            int value = argb >>> (24 - 8 * channel) & 0xFF;
            assertTrue(Math.abs(value - expected[channel]) < 16, Integer.toHexString(argb));
        }
    }

    @Test
    void theSampleGetsSmall() throws Exception {
        byte[] sample = Pictures.sample();
        Thumbnail thumbnail = Thumbnail.of(sample, 160);
        assertEquals(160, thumbnail.width());
        assertEquals(120, thumbnail.height());
        assertTrue(thumbnail.file().length < sample.length / 10);
    }

    @Test
    void whatIsNoImageIsRefused() {
        byte[] jpeg = Pictures.of("jpeg", 300, 200);
        assertUnusable("empty", new byte[0]);
        assertUnusable("text", "hello".getBytes());
        assertUnusable("GIF", "GIF89a............".getBytes());
        assertUnusable("only the signature of a JPEG", Arrays.copyOf(jpeg, 3));
        assertUnusable("only the header of a JPEG", Arrays.copyOf(jpeg, 100));
        assertUnusable("half a PNG", Arrays.copyOf(Pictures.of("png", 300, 200), 40));
    }

    @Test
    void aSmallFileThatClaimsMorePixelsThanFitIsRefusedBeforeItIsRead() {
        byte[] png = Pictures.of("png", 10, 10);
        // Width and height follow the signature, the length of the first chunk and its name; its checksum follows its 13 bytes.
        ByteBuffer header = ByteBuffer.wrap(png);
        header.putInt(16, 20_000);
        header.putInt(20, 20_000);
        CRC32 checksum = new CRC32();
        checksum.update(png, 12, 17);
        header.putInt(29, (int) checksum.getValue());
        UnusableImage error = assertUnusable("20 000 x 20 000", png);
        assertTrue(error.getMessage().contains("20000 x 20000"), error.getMessage());
    }

    private static UnusableImage assertUnusable(String what, byte[] file) {
        return assertThrows(UnusableImage.class, () -> Thumbnail.of(file, 160), what);
    }
}
