package sb.thumbnails;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.events.APIGatewayProxyRequestEvent;
import com.amazonaws.services.lambda.runtime.events.APIGatewayProxyResponseEvent;
import com.amazonaws.xray.AWSXRay;
import com.amazonaws.xray.entities.Subsegment;
import java.util.Base64;
import java.util.Map;
import java.util.regex.Pattern;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;

/** PUT /images/{name}: keeps the image that is the request's body. That it is kept starts {@link ThumbnailHandler}. */
public final class UploadHandler
        implements RequestHandler<APIGatewayProxyRequestEvent, APIGatewayProxyResponseEvent> {
    /** In bytes. Lambda takes events of 6 MB, in which the image is a third larger. */
    static final int MAX_BYTES = 4_000_000;

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,99}\\.(jpg|jpeg|png)");

    private final S3Client storage;
    private final String bucket;

    /** For Lambda. */
    public UploadHandler() {
        this(Storage.client(), Storage.environment("IMAGES_BUCKET"));
    }

    UploadHandler(S3Client storage, String bucket) {
        this.storage = storage;
        this.bucket = bucket;
    }

    @Override
    public APIGatewayProxyResponseEvent handleRequest(APIGatewayProxyRequestEvent request, Context context) {
        Map<String, String> path = request.getPathParameters();
        String name = path == null ? null : path.get("name");
        if (name == null || !NAME.matcher(name).matches()) {
            return problem(400, "an image's name is 1 to 100 letters, digits, - and _, and ends in .jpg, .jpeg or .png");
        }
        if (request.getBody() == null || request.getBody().isEmpty()) {
            return problem(400, "the body is empty; it must be the image");
        }
        if (!Boolean.TRUE.equals(request.getIsBase64Encoded())) {
            return problem(415, "send the image as Content-Type: image/jpeg or image/png");
        }
        byte[] image;
        try {
            image = Base64.getDecoder().decode(request.getBody());
        } catch (IllegalArgumentException error) {
            return problem(400, "the body is not base64");
        }
        if (image.length > MAX_BYTES) {
            return problem(413, "the image has " + image.length + " bytes; " + MAX_BYTES + " are allowed");
        }
        ImageFormat format = ImageFormat.of(image).orElse(null);
        if (format == null) {
            return problem(415, "the body is neither a JPEG nor a PNG image");
        }
        // A name that contradicts its content would mislead whoever fetches the image.
        if ((format == ImageFormat.PNG) != name.endsWith(".png")) {
            return problem(415, "the body is a " + format + " image, which the name " + name + " does not say");
        }
        return keep(name, image, format, context);
    }

    private APIGatewayProxyResponseEvent keep(String name, byte[] image, ImageFormat format, Context context) {
        try (Subsegment subsegment = AWSXRay.beginSubsegment("store image")) {
            subsegment.putAnnotation("image_bytes", image.length);
            try {
                storage.putObject(
                        PutObjectRequest.builder()
                                .bucket(bucket)
                                .key(name)
                                .contentType(format.contentType)
                                .build(),
                        RequestBody.fromBytes(image));
            } catch (SdkException error) {
                subsegment.addException(error);
                context.getLogger().log("cannot store " + name + ": " + error + "\n");
                return problem(502, "the image could not be stored; try again");
            }
        }
        // The name is made of characters that JSON does not escape.
        return answer(201, "{\"name\":\"" + name + "\",\"type\":\"" + format.contentType + "\",\"bytes\":" + image.length + "}");
    }

    /** Reasons are our own sentences, of characters that JSON does not escape. */
    private static APIGatewayProxyResponseEvent problem(int status, String reason) {
        return answer(status, "{\"error\":\"" + reason + "\"}");
    }

    private static APIGatewayProxyResponseEvent answer(int status, String json) {
        return new APIGatewayProxyResponseEvent()
                .withStatusCode(status)
                .withHeaders(Map.of("Content-Type", "application/json"))
                .withIsBase64Encoded(false)
                .withBody(json);
    }
}
