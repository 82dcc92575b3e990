package sb.thumbnails;

import java.util.regex.Pattern;

/** An image that a caller wants kept, and under which name. */
record Upload(String name, byte[] image, ImageFormat format) {
    /** In bytes. Lambda takes events of 6 MB, in which the image is a third larger. */
    static final int MAX_BYTES = 4_000_000;

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,99}\\.(jpg|jpeg|png)");

    /** Why an upload is not accepted: a status of HTTP and a sentence of characters that JSON does not escape. */
    static final class Refused extends Exception {
        private static final long serialVersionUID = 1;

        final int status;

        Refused(int status, String reason) {
            super(reason);
            this.status = status;
        }
    }

    static void checkName(String name) throws Refused {
        if (name == null || !NAME.matcher(name).matches()) {
            throw new Refused(
                    400, "an image's name is 1 to 100 letters, digits, - and _, and ends in .jpg, .jpeg or .png");
        }
    }

    static void checkPresent(boolean present) throws Refused {
        if (!present) {
            throw new Refused(400, "the body is empty; it must be the image");
        }
    }

    static Upload of(String name, byte[] image) throws Refused {
        checkName(name);
        checkPresent(image.length > 0);
        if (image.length > MAX_BYTES) {
            throw new Refused(413, "the image has " + image.length + " bytes; " + MAX_BYTES + " are allowed");
        }
        ImageFormat format = ImageFormat.of(image)
                .orElseThrow(() -> new Refused(415, "the body is neither a JPEG nor a PNG image"));
        // A name that contradicts its content would mislead whoever fetches the image.
        if ((format == ImageFormat.PNG) != name.endsWith(".png")) {
            throw new Refused(415, "the body is a " + format + " image, which the name " + name + " does not say");
        }
        return new Upload(name, image, format);
    }

    /** The answer to one that was kept. The name is made of characters that JSON does not escape. */
    String answer() {
        return "{\"name\":\"" + name + "\",\"type\":\"" + format.contentType + "\",\"bytes\":" + image.length + "}";
    }

    /** The answer to one that was not. */
    static String problem(String reason) {
        return "{\"error\":\"" + reason + "\"}";
    }
}
