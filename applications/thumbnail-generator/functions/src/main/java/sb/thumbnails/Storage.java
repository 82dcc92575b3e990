package sb.thumbnails;

import com.amazonaws.xray.interceptors.TracingInterceptor;
import java.time.Duration;
import software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;

/** What the functions take from their environment. It is read once, in a cold start. */
final class Storage {
    private Storage() {}

    /**
     * A client whose every call is a subsegment of the trace and carries the trace's header to S3, which hands it on to
     * the function that the bucket's event starts.
     */
    static S3Client client() {
        return S3Client.builder()
                .region(Region.of(environment("AWS_REGION")))
                .credentialsProvider(EnvironmentVariableCredentialsProvider.create())
                .httpClientBuilder(UrlConnectionHttpClient.builder()
                        .connectionTimeout(Duration.ofSeconds(2))
                        .socketTimeout(Duration.ofSeconds(5)))
                .overrideConfiguration(configuration -> configuration.addExecutionInterceptor(new TracingInterceptor()))
                .build();
    }

    static String environment(String name) {
        String value = System.getenv(name);
        if (value == null || value.isBlank()) {
            throw new IllegalStateException("the environment variable " + name + " is not set");
        }
        return value;
    }
}
