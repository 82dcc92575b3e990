package sb.thumbnails;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.events.APIGatewayProxyRequestEvent;
import com.amazonaws.services.lambda.runtime.events.APIGatewayProxyResponseEvent;
import com.amazonaws.xray.AWSXRay;
import com.amazonaws.xray.entities.Subsegment;
import java.util.Base64;
import java.util.Map;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;

/** PUT /images/{name}: keeps the image that is the request's body. That it is kept starts {@link ThumbnailHandler}. */
public final class UploadHandler
        implements RequestHandler<APIGatewayProxyRequestEvent, APIGatewayProxyResponseEvent> {
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
        try {
            return keep(upload(path == null ? null : path.get("name"), request), context);
        } catch (Upload.Refused refused) {
            return problem(refused.status, refused.getMessage());
        }
    }

    private static Upload upload(String name, APIGatewayProxyRequestEvent request) throws Upload.Refused {
        Upload.checkName(name);
        Upload.checkPresent(request.getBody() != null && !request.getBody().isEmpty());
        if (!Boolean.TRUE.equals(request.getIsBase64Encoded())) {
            throw new Upload.Refused(415, "send the image as Content-Type: image/jpeg or image/png");
        }
        try {
            return Upload.of(name, Base64.getDecoder().decode(request.getBody()));
        } catch (IllegalArgumentException error) {
            throw new Upload.Refused(400, "the body is not base64");
        }
    }

    private APIGatewayProxyResponseEvent keep(Upload upload, Context context) {
        try (Subsegment subsegment = AWSXRay.beginSubsegment("store image")) {
            subsegment.putAnnotation("image_bytes", upload.image().length);
            try {
                storage.putObject(
                        PutObjectRequest.builder()
                                .bucket(bucket)
                                .key(upload.name())
                                .contentType(upload.format().contentType)
                                .build(),
                        RequestBody.fromBytes(upload.image()));
            } catch (SdkException error) {
                subsegment.addException(error);
                context.getLogger().log("cannot store " + upload.name() + ": " + error + "\n");
                return problem(502, "the image could not be stored; try again");
            }
        }
        return answer(201, upload.answer());
    }

    private static APIGatewayProxyResponseEvent problem(int status, String reason) {
        return answer(status, Upload.problem(reason));
    }

    private static APIGatewayProxyResponseEvent answer(int status, String json) {
        return new APIGatewayProxyResponseEvent()
                .withStatusCode(status)
                .withHeaders(Map.of("Content-Type", "application/json"))
                .withIsBase64Encoded(false)
                .withBody(json);
    }
}
