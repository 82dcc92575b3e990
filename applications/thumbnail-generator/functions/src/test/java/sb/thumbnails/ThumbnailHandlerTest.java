package sb.thumbnails;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.amazonaws.services.lambda.runtime.events.S3Event;
import com.amazonaws.services.lambda.runtime.events.models.s3.S3EventNotification.S3BucketEntity;
import com.amazonaws.services.lambda.runtime.events.models.s3.S3EventNotification.S3Entity;
import com.amazonaws.services.lambda.runtime.events.models.s3.S3EventNotification.S3EventNotificationRecord;
import com.amazonaws.services.lambda.runtime.events.models.s3.S3EventNotification.S3ObjectEntity;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.services.s3.model.S3Exception;

class ThumbnailHandlerTest {
    private final MemoryStorage storage = new MemoryStorage();
    private final TestContext context = new TestContext();
    private final ThumbnailHandler handler = new ThumbnailHandler(storage, "thumbnails", 160);

    /** Keys as S3 writes them into events: encoded as in a URL. */
    private static S3Event created(String bucket, String... keys) {
        return new S3Event(Arrays.stream(keys)
                .map(key -> new S3EventNotificationRecord(
                        "us-east-1",
                        "ObjectCreated:Put",
                        "aws:s3",
                        "2026-01-02T12:00:00.000Z",
                        "2.1",
                        null,
                        null,
                        new S3Entity(
                                "all",
                                new S3BucketEntity(bucket, null, "arn:aws:s3:::" + bucket),
                                new S3ObjectEntity(key, 1L, null, null, null),
                                "1.0"),
                        null))
                .toList());
    }

    private void keep(String key, byte[] image) {
        storage.objects.put("images/" + key, new MemoryStorage.Stored(image, "image/jpeg"));
    }

    @Test
    void everyImageGetsAThumbnailOfTheSameName() {
        keep("cat.jpg", Pictures.sample());
        keep("a dog.png", Pictures.of("png", 640, 320));
        assertEquals(
                List.of("cat.jpg", "a dog.png"), handler.handleRequest(created("images", "cat.jpg", "a+dog.png"), context));
        MemoryStorage.Stored cat = storage.objects.get("thumbnails/cat.jpg");
        assertEquals("image/jpeg", cat.contentType());
        assertEquals(160, Pictures.read(cat.content()).getWidth());
        MemoryStorage.Stored dog = storage.objects.get("thumbnails/a dog.png");
        assertEquals("image/png", dog.contentType());
        assertEquals(80, Pictures.read(dog.content()).getHeight());
    }

    @Test
    void anEventThatComesTwiceChangesNothing() {
        keep("cat.jpg", Pictures.sample());
        handler.handleRequest(created("images", "cat.jpg"), context);
        byte[] first = storage.objects.get("thumbnails/cat.jpg").content();
        handler.handleRequest(created("images", "cat.jpg"), context);
        assertTrue(Arrays.equals(first, storage.objects.get("thumbnails/cat.jpg").content()));
        assertEquals(2, storage.objects.size());
    }

    @Test
    void whatCannotBecomeAThumbnailIsGivenUpAndHidesNothing() {
        keep("text.jpg", "hello".getBytes());
        keep("cat.jpg", Pictures.sample());
        assertEquals(
                List.of("cat.jpg"),
                handler.handleRequest(created("images", "text.jpg", "removed.jpg", "cat.jpg"), context));
        assertEquals(Set.of("images/cat.jpg", "images/text.jpg", "thumbnails/cat.jpg"), storage.objects.keySet());
        assertTrue(context.log.toString().contains("no thumbnail of text.jpg"), context.log.toString());
        assertTrue(context.log.toString().contains("removed.jpg is gone"), context.log.toString());
    }

    @Test
    void aFailureOfStorageFailsTheEventSoThatItIsTriedAgain() {
        keep("cat.jpg", Pictures.sample());
        storage.failure = MemoryStorage.unavailable();
        S3Event event = created("images", "cat.jpg", "cat.jpg");
        assertThrows(S3Exception.class, () -> handler.handleRequest(event, context));
        storage.failure = null;
        assertEquals(List.of("cat.jpg", "cat.jpg"), handler.handleRequest(event, context));
    }

    @Test
    void aBucketThatIsItsOwnTargetIsRefused() {
        storage.objects.put("thumbnails/cat.jpg", new MemoryStorage.Stored(Pictures.sample(), "image/jpeg"));
        S3Event event = created("thumbnails", "cat.jpg");
        assertThrows(IllegalStateException.class, () -> handler.handleRequest(event, context));
        assertEquals(1, storage.objects.size());
    }
}
