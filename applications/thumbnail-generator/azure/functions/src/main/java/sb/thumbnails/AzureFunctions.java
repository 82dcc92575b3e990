package sb.thumbnails;

import com.microsoft.azure.functions.ExecutionContext;
import com.microsoft.azure.functions.HttpMethod;
import com.microsoft.azure.functions.HttpRequestMessage;
import com.microsoft.azure.functions.HttpResponseMessage;
import com.microsoft.azure.functions.HttpStatusType;
import com.microsoft.azure.functions.OutputBinding;
import com.microsoft.azure.functions.annotation.AuthorizationLevel;
import com.microsoft.azure.functions.annotation.BindingName;
import com.microsoft.azure.functions.annotation.BlobOutput;
import com.microsoft.azure.functions.annotation.BlobTrigger;
import com.microsoft.azure.functions.annotation.FunctionName;
import com.microsoft.azure.functions.annotation.HttpTrigger;
import java.util.Optional;

/** Both functions. The host reads and writes the blobs: what a function sets as its output is stored after it returns. */
public final class AzureFunctions {
    private final int maxSide;

    /** For the host. */
    public AzureFunctions() {
        this(Integer.parseInt(System.getenv().getOrDefault("MAX_SIDE", "160")));
    }

    AzureFunctions(int maxSide) {
        if (maxSide < 1) {
            throw new IllegalArgumentException("MAX_SIDE must be above 0");
        }
        this.maxSide = maxSide;
    }

    /** PUT /images/{name}: keeps the image that is the request's body. That it is kept starts {@link #thumbnail}. */
    @FunctionName("upload")
    public HttpResponseMessage upload(
            @HttpTrigger(
                            name = "request",
                            methods = {HttpMethod.PUT},
                            authLevel = AuthorizationLevel.ANONYMOUS,
                            route = "images/{name}",
                            dataType = "binary")
                    HttpRequestMessage<Optional<byte[]>> request,
            @BindingName("name") String name,
            @BlobOutput(name = "image", path = "images/{name}", dataType = "binary", connection = "AzureWebJobsStorage")
                    OutputBinding<byte[]> image,
            ExecutionContext context) {
        Upload upload;
        try {
            upload = Upload.of(name, request.getBody().orElse(new byte[0]));
        } catch (Upload.Refused refused) {
            return answer(request, refused.status, Upload.problem(refused.getMessage()));
        }
        image.setValue(upload.image());
        return answer(request, 201, upload.answer());
    }

    /** Makes a thumbnail of an image that was kept, under the same name. A file that is no image is given up at once. */
    @FunctionName("thumbnail")
    public void thumbnail(
            @BlobTrigger(name = "image", path = "images/{name}", dataType = "binary", connection = "AzureWebJobsStorage")
                    byte[] image,
            @BindingName("name") String name,
            @BlobOutput(
                            name = "thumbnail",
                            path = "thumbnails/{name}",
                            dataType = "binary",
                            connection = "AzureWebJobsStorage")
                    OutputBinding<byte[]> thumbnail,
            ExecutionContext context) {
        try {
            thumbnail.setValue(Thumbnail.of(image, maxSide).file());
        } catch (UnusableImage error) {
            context.getLogger().warning("no thumbnail of " + name + ": " + error.getMessage());
        }
    }

    private static HttpResponseMessage answer(HttpRequestMessage<?> request, int status, String json) {
        return request.createResponseBuilder(HttpStatusType.custom(status))
                .header("Content-Type", "application/json")
                .body(json)
                .build();
    }
}
