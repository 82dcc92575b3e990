package sb.thumbnails;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.events.S3Event;
import com.amazonaws.services.lambda.runtime.events.models.s3.S3EventNotification.S3EventNotificationRecord;
import com.amazonaws.xray.AWSXRay;
import com.amazonaws.xray.entities.Subsegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.GetObjectRequest;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;

/**
 * Makes a thumbnail of each image that a bucket tells of, under the same name in another bucket. Doing so twice gives the
 * same, so Lambda may repeat an event. A file that is no image is given up at once; when storage fails, the event fails,
 * and Lambda tries it again.
 */
public final class ThumbnailHandler implements RequestHandler<S3Event, List<String>> {
    private final S3Client storage;
    private final String thumbnails;
    private final int maxSide;

    /** For Lambda. */
    public ThumbnailHandler() {
        this(Storage.client(), Storage.environment("THUMBNAILS_BUCKET"), Integer.parseInt(Storage.environment("MAX_SIDE")));
    }

    ThumbnailHandler(S3Client storage, String thumbnails, int maxSide) {
        if (maxSide < 1) {
            throw new IllegalArgumentException("MAX_SIDE must be above 0");
        }
        this.storage = storage;
        this.thumbnails = thumbnails;
        this.maxSide = maxSide;
    }

    /** The names of the thumbnails that were made. */
    @Override
    public List<String> handleRequest(S3Event event, Context context) {
        List<String> made = new ArrayList<>();
        SdkException failure = null;
        for (S3EventNotificationRecord record : event.getRecords()) {
            String bucket = record.getS3().getBucket().getName();
            String key = record.getS3().getObject().getUrlDecodedKey();
            // A thumbnail that is written to its own source would start this function again, without end.
            if (bucket.equals(thumbnails)) {
                throw new IllegalStateException("the bucket " + bucket + " is both source and target");
            }
            try {
                if (process(bucket, key, context)) {
                    made.add(key);
                }
            } catch (SdkException error) {
                context.getLogger().log("cannot make a thumbnail of " + key + ": " + error + "\n");
                failure = error;
            }
        }
        if (failure != null) {
            throw failure;
        }
        return made;
    }

    private boolean process(String bucket, String key, Context context) {
        Optional<byte[]> image = fetch(bucket, key);
        if (image.isEmpty()) {
            context.getLogger().log(key + " is gone\n");
            return false;
        }
        Thumbnail thumbnail;
        try (Subsegment subsegment = AWSXRay.beginSubsegment("scale image")) {
            try {
                thumbnail = Thumbnail.of(image.get(), maxSide);
            } catch (UnusableImage error) {
                subsegment.addException(error);
                context.getLogger().log("no thumbnail of " + key + ": " + error.getMessage() + "\n");
                return false;
            }
            subsegment.putAnnotation("image_bytes", image.get().length);
            subsegment.putAnnotation("thumbnail_bytes", thumbnail.file().length);
        }
        storage.putObject(
                PutObjectRequest.builder()
                        .bucket(thumbnails)
                        .key(key)
                        .contentType(thumbnail.format().contentType)
                        .build(),
                RequestBody.fromBytes(thumbnail.file()));
        return true;
    }

    /** Nothing where the image was removed since the event. */
    private Optional<byte[]> fetch(String bucket, String key) {
        try {
            GetObjectRequest request = GetObjectRequest.builder().bucket(bucket).key(key).build();
            return Optional.of(storage.getObjectAsBytes(request).asByteArray());
        } catch (NoSuchKeyException error) {
            return Optional.empty();
        }
    }
}
