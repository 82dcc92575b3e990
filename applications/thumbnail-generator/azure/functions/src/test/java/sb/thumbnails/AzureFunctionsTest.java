package sb.thumbnails;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.microsoft.azure.functions.ExecutionContext;
import com.microsoft.azure.functions.HttpMethod;
import com.microsoft.azure.functions.HttpRequestMessage;
import com.microsoft.azure.functions.HttpResponseMessage;
import com.microsoft.azure.functions.HttpStatus;
import com.microsoft.azure.functions.HttpStatusType;
import com.microsoft.azure.functions.OutputBinding;
import com.microsoft.azure.functions.annotation.BlobOutput;
import com.microsoft.azure.functions.annotation.BlobTrigger;
import com.microsoft.azure.functions.annotation.FunctionName;
import com.microsoft.azure.functions.annotation.HttpTrigger;
import java.io.ByteArrayInputStream;
import java.lang.annotation.Annotation;
import java.lang.reflect.Method;
import java.lang.reflect.Parameter;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AzureFunctionsTest {
    private final AzureFunctions functions = new AzureFunctions(160);
    private final Output output = new Output();
    private final Invocation invocation = new Invocation();

    private static byte[] sample() throws Exception {
        return Files.readAllBytes(Path.of("../../data/sample.jpg"));
    }

    private Answer upload(String name, byte[] body) {
        return (Answer) functions.upload(new Request(Optional.ofNullable(body)), name, output, invocation);
    }

    @Test
    void anImageIsKeptAsItIs() throws Exception {
        Answer answer = upload("cat.jpg", sample());
        assertEquals(201, answer.getStatusCode());
        assertEquals("{\"name\":\"cat.jpg\",\"type\":\"image/jpeg\",\"bytes\":" + sample().length + "}", answer.getBody());
        assertEquals("application/json", answer.getHeader("Content-Type"));
        assertArrayEquals(sample(), output.value);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "cat.gif", "../cat.jpg", "a b.jpg"})
    void namesThatAreNoNamesAreRefused(String name) throws Exception {
        assertRefused(400, upload(name, sample()));
    }

    @Test
    void requestsWithoutWhatIsNeededAreRefused() throws Exception {
        assertRefused(400, upload("cat.jpg", null));
        assertRefused(400, upload("cat.jpg", new byte[0]));
        assertRefused(415, upload("cat.jpg", "hello".getBytes()));
        assertRefused(415, upload("cat.png", sample()));
        assertRefused(413, upload("cat.jpg", Arrays.copyOf(sample(), Upload.MAX_BYTES + 1)));
    }

    private void assertRefused(int status, Answer answer) {
        assertEquals(status, answer.getStatusCode(), String.valueOf(answer.getBody()));
        assertTrue(String.valueOf(answer.getBody()).matches("\\{\"error\":\"[^\"\\\\]+\"}"), String.valueOf(answer.getBody()));
        assertNull(output.value, "nothing is kept");
    }

    @Test
    void anImageHasAThumbnail() throws Exception {
        functions.thumbnail(sample(), "cat.jpg", output, invocation);
        var made = ImageIO.read(new ByteArrayInputStream(output.value));
        assertEquals("160 x 120", made.getWidth() + " x " + made.getHeight());
    }

    @Test
    void aFileThatIsNoImageIsGivenUp() {
        functions.thumbnail("hello".getBytes(), "cat.jpg", output, invocation);
        assertNull(output.value);
        assertEquals(List.of("no thumbnail of cat.jpg: neither a JPEG nor a PNG image"), invocation.logged);
    }

    @Test
    void aThumbnailHasASide() {
        assertThrows(IllegalArgumentException.class, () -> new AzureFunctions(0));
    }

    /** What the host is told in function.json is what the code is written for. */
    @Test
    void theDescriptionsAreThoseOfTheCode() throws Exception {
        List<String> described = new ArrayList<>();
        for (Method method : AzureFunctions.class.getDeclaredMethods()) {
            FunctionName name = method.getAnnotation(FunctionName.class);
            if (name == null) {
                continue;
            }
            described.add(name.value());
            JsonNode file = new ObjectMapper().readTree(Path.of("..", name.value(), "function.json").toFile());
            assertEquals("../thumbnails.jar", file.get("scriptFile").asText());
            assertEquals("sb.thumbnails.AzureFunctions." + method.getName(), file.get("entryPoint").asText());
            Map<String, String> bindings = new TreeMap<>();
            file.get("bindings").forEach(one -> bindings.put(one.get("name").asText(), one.toString()));
            Map<String, String> expected = new TreeMap<>();
            for (Parameter parameter : method.getParameters()) {
                for (Annotation annotation : parameter.getAnnotations()) {
                    binding(annotation).ifPresent(one -> expected.put(one.get("name").asText(), one.toString()));
                }
            }
            if (method.getReturnType() != void.class) {
                expected.put("$return", "{\"type\":\"http\",\"direction\":\"out\",\"name\":\"$return\"}");
            }
            assertEquals(expected, bindings);
        }
        described.sort(null);
        assertEquals(List.of("thumbnail", "upload"), described);
    }

    private static Optional<JsonNode> binding(Annotation annotation) {
        var made = new ObjectMapper().createObjectNode();
        if (annotation instanceof HttpTrigger trigger) {
            made.put("type", "httpTrigger").put("direction", "in").put("name", trigger.name());
            made.put("authLevel", trigger.authLevel().name().toLowerCase());
            for (HttpMethod method : trigger.methods()) {
                made.withArray("methods").add(method.name().toLowerCase());
            }
            made.put("route", trigger.route()).put("dataType", trigger.dataType());
        } else if (annotation instanceof BlobTrigger trigger) {
            made.put("type", "blobTrigger").put("direction", "in").put("name", trigger.name()).put("path", trigger.path());
            made.put("dataType", trigger.dataType()).put("connection", trigger.connection());
        } else if (annotation instanceof BlobOutput output) {
            made.put("type", "blob").put("direction", "out").put("name", output.name()).put("path", output.path());
            made.put("dataType", output.dataType()).put("connection", output.connection());
        } else {
            return Optional.empty();
        }
        return Optional.of(made);
    }

    private static final class Output implements OutputBinding<byte[]> {
        byte[] value;

        @Override
        public byte[] getValue() {
            return value;
        }

        @Override
        public void setValue(byte[] value) {
            this.value = value;
        }
    }

    private static final class Invocation implements ExecutionContext {
        final List<String> logged = new ArrayList<>();
        private final Logger logger = Logger.getAnonymousLogger();

        Invocation() {
            logger.setUseParentHandlers(false);
            logger.addHandler(new Handler() {
                @Override
                public void publish(LogRecord record) {
                    logged.add(record.getMessage());
                }

                @Override
                public void flush() {}

                @Override
                public void close() {}
            });
        }

        @Override
        public Logger getLogger() {
            return logger;
        }

        @Override
        public String getInvocationId() {
            return "invocation";
        }

        @Override
        public String getFunctionName() {
            return "function";
        }
    }

    private record Request(Optional<byte[]> body) implements HttpRequestMessage<Optional<byte[]>> {
        @Override
        public URI getUri() {
            return URI.create("http://127.0.0.1/");
        }

        @Override
        public HttpMethod getHttpMethod() {
            return HttpMethod.PUT;
        }

        @Override
        public Map<String, String> getHeaders() {
            return Map.of();
        }

        @Override
        public Map<String, String> getQueryParameters() {
            return Map.of();
        }

        @Override
        public Optional<byte[]> getBody() {
            return body;
        }

        @Override
        public HttpResponseMessage.Builder createResponseBuilder(HttpStatus status) {
            return createResponseBuilder((HttpStatusType) status);
        }

        @Override
        public HttpResponseMessage.Builder createResponseBuilder(HttpStatusType status) {
            return new Answer().status(status);
        }
    }

    private static final class Answer implements HttpResponseMessage, HttpResponseMessage.Builder {
        private HttpStatusType status;
        private final Map<String, String> headers = new HashMap<>();
        private Object body;

        @Override
        public Builder status(HttpStatusType status) {
            this.status = status;
            return this;
        }

        @Override
        public Builder header(String key, String value) {
            headers.put(key, value);
            return this;
        }

        @Override
        public Builder body(Object body) {
            this.body = body;
            return this;
        }

        @Override
        public HttpResponseMessage build() {
            return this;
        }

        @Override
        public HttpStatusType getStatus() {
            return status;
        }

        @Override
        public String getHeader(String key) {
            return headers.get(key);
        }

        @Override
        public Object getBody() {
            return body;
        }
    }
}
