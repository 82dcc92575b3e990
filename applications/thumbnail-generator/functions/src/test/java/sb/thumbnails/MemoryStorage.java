package sb.thumbnails;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.TreeMap;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.core.ResponseBytes;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.GetObjectRequest;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.PutObjectRequest;
import software.amazon.awssdk.services.s3.model.PutObjectResponse;
import software.amazon.awssdk.services.s3.model.S3Exception;

/** S3 as far as the functions use it, in this process. */
final class MemoryStorage implements S3Client {
    record Stored(byte[] content, String contentType) {}

    /** By bucket and key, such as {@code images/cat.jpg}. */
    final TreeMap<String, Stored> objects = new TreeMap<>();

    /** What every call fails with from now on, if anything. */
    S3Exception failure;

    static S3Exception unavailable() {
        return (S3Exception) S3Exception.builder()
                .statusCode(503)
                .awsErrorDetails(AwsErrorDetails.builder()
                        .errorCode("SlowDown")
                        .errorMessage("bucket secret-name: reduce your request rate")
                        .build())
                .build();
    }

    @Override
    public PutObjectResponse putObject(PutObjectRequest request, RequestBody body) {
        failIfTold();
        try {
            byte[] content = body.contentStreamProvider().newStream().readAllBytes();
            objects.put(request.bucket() + "/" + request.key(), new Stored(content, request.contentType()));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return PutObjectResponse.builder().build();
    }

    @Override
    public ResponseBytes<GetObjectResponse> getObjectAsBytes(GetObjectRequest request) {
        failIfTold();
        Stored stored = objects.get(request.bucket() + "/" + request.key());
        if (stored == null) {
            throw NoSuchKeyException.builder().statusCode(404).build();
        }
        return ResponseBytes.fromByteArray(GetObjectResponse.builder().build(), stored.content());
    }

    private void failIfTold() {
        if (failure != null) {
            throw failure;
        }
    }

    @Override
    public String serviceName() {
        return "s3";
    }

    @Override
    public void close() {}
}
