package sb.thumbnails;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.amazonaws.services.lambda.runtime.events.APIGatewayProxyRequestEvent;
import com.amazonaws.services.lambda.runtime.events.APIGatewayProxyResponseEvent;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class UploadHandlerTest {
    private final MemoryStorage storage = new MemoryStorage();
    private final TestContext context = new TestContext();
    private final UploadHandler handler = new UploadHandler(storage, "images");

    private static APIGatewayProxyRequestEvent upload(String name, byte[] image) {
        return new APIGatewayProxyRequestEvent()
                .withPathParameters(Map.of("name", name))
                .withIsBase64Encoded(true)
                .withBody(Base64.getEncoder().encodeToString(image));
    }

    private void assertRefused(int status, APIGatewayProxyRequestEvent request) {
        APIGatewayProxyResponseEvent answer = handler.handleRequest(request, context);
        assertEquals(status, answer.getStatusCode(), answer.getBody());
        assertTrue(answer.getBody().matches("\\{\"error\":\"[^\"\\\\]+\"}"), answer.getBody());
        assertTrue(storage.objects.isEmpty(), "nothing is kept");
    }

    @ParameterizedTest
    @ValueSource(strings = {"cat.jpg", "cat.jpeg", "0b9e1f2a-3f6e-4c7e-9d6f-1a2b3c4d5e6f.jpg"})
    void anImageIsKeptAsItIs(String name) {
        byte[] image = Pictures.sample();
        APIGatewayProxyResponseEvent answer = handler.handleRequest(upload(name, image), context);
        assertEquals(201, answer.getStatusCode());
        assertEquals(
                "{\"name\":\"" + name + "\",\"type\":\"image/jpeg\",\"bytes\":" + image.length + "}", answer.getBody());
        MemoryStorage.Stored stored = storage.objects.get("images/" + name);
        assertArrayEquals(image, stored.content());
        assertEquals("image/jpeg", stored.contentType());
    }

    @Test
    void aPngIsKeptAsAPng() {
        assertEquals(201, handler.handleRequest(upload("a.png", Pictures.of("png", 4, 4)), context).getStatusCode());
        assertEquals("image/png", storage.objects.get("images/a.png").contentType());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "cat", "cat.gif", ".jpg", "../cat.jpg", "a/b.jpg", "a b.jpg", "cat.jpg\n", "cat.JPG"})
    void namesThatAreNoNamesAreRefused(String name) {
        assertRefused(400, upload(name, Pictures.sample()));
    }

    @Test
    void requestsWithoutWhatIsNeededAreRefused() {
        assertRefused(400, upload("cat.jpg", Pictures.sample()).withPathParameters(null));
        assertRefused(400, upload("cat.jpg", Pictures.sample()).withBody(null));
        assertRefused(400, upload("cat.jpg", new byte[0]));
        assertRefused(400, upload("cat.jpg", Pictures.sample()).withBody("%%%"));
        assertRefused(415, upload("cat.jpg", Pictures.sample()).withIsBase64Encoded(false));
        assertRefused(415, upload("cat.jpg", "hello".getBytes()));
        assertRefused(415, upload("cat.jpg", Pictures.of("png", 4, 4)));
        assertRefused(415, upload("cat.png", Pictures.sample()));
        assertRefused(413, upload("cat.jpg", Arrays.copyOf(Pictures.sample(), Upload.MAX_BYTES + 1)));
    }

    @Test
    void theLargestImageIsKept() {
        byte[] image = Arrays.copyOf(Pictures.sample(), Upload.MAX_BYTES);
        assertEquals(201, handler.handleRequest(upload("cat.jpg", image), context).getStatusCode());
    }

    @Test
    void storageThatFailsIsTheCallersToRetryAndOursToKnow() {
        storage.failure = MemoryStorage.unavailable();
        APIGatewayProxyResponseEvent answer = handler.handleRequest(upload("cat.jpg", Pictures.sample()), context);
        assertEquals(502, answer.getStatusCode());
        assertFalse(answer.getBody().contains("secret-name"), answer.getBody());
        assertTrue(context.log.toString().contains("cannot store cat.jpg"), context.log.toString());
    }
}
