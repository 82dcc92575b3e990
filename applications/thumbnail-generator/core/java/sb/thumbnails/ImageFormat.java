package sb.thumbnails;

import java.util.Optional;

/** The formats that are accepted, told by their first bytes: what a caller says of them is not evidence. */
enum ImageFormat {
    JPEG("jpeg", "image/jpeg", 0xFF, 0xD8, 0xFF),
    PNG("png", "image/png", 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n');

    /** The name by which ImageIO knows the format. */
    final String imageIoName;
    final String contentType;
    private final int[] signature;

    ImageFormat(String imageIoName, String contentType, int... signature) {
        this.imageIoName = imageIoName;
        this.contentType = contentType;
        this.signature = signature;
    }

    static Optional<ImageFormat> of(byte[] file) {
        for (ImageFormat format : values()) {
            if (format.begins(file)) {
                return Optional.of(format);
            }
        }
        return Optional.empty();
    }

    private boolean begins(byte[] file) {
        if (file.length < signature.length) {
            return false;
        }
        for (int i = 0; i < signature.length; i++) {
            if ((file[i] & 0xFF) != signature[i]) {
                return false;
            }
        }
        return true;
    }
}
