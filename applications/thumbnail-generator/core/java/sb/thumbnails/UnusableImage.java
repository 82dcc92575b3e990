package sb.thumbnails;

/** No thumbnail can be made of this file, now or later: trying again is of no use. */
final class UnusableImage extends Exception {
    private static final long serialVersionUID = 1L;

    UnusableImage(String reason) {
        super(reason);
    }

    UnusableImage(String reason, Throwable cause) {
        super(reason, cause);
    }
}
