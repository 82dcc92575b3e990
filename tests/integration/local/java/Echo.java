import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.Map;

public class Echo implements RequestHandler<Map<String, Object>, Map<String, Object>> {
    @Override
    public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
        if (event.containsKey("fail")) {
            throw new IllegalStateException("asked to fail");
        }
        return Map.of(
            "event", event,
            "request_id", context.getAwsRequestId(),
            "name", context.getFunctionName(),
            "heap_mib", Runtime.getRuntime().maxMemory() >> 20,
            "trace", System.getProperty("com.amazonaws.xray.traceHeader", ""));
    }
}
