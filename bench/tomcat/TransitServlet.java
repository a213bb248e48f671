import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The peer of row P4: what a careful Java service around a cache does for a warm unwrap, and no more.
 * POST with {"ciphertext":"..."}; the data key comes from a ConcurrentHashMap keyed by the ciphertext
 * and goes out as Transit JSON. No roles, no limits, no audit, no expiry: each would only make it slower.
 *
 * The map is filled at start from a file that its init parameter "keys" names: a line each, the
 * ciphertext, a space, the data key in base64.
 */
public final class TransitServlet extends HttpServlet {
    private static final long serialVersionUID = 1L;
    private static final byte[] FIELD = "\"ciphertext\":\"".getBytes(StandardCharsets.ISO_8859_1);
    private static final int BODY_BYTES_MAX = 64 * 1024;

    private final transient ConcurrentHashMap<String, byte[]> cache = new ConcurrentHashMap<>();

    @Override
    public void init() throws ServletException {
        Path keys = Path.of(getInitParameter("keys"));
        try (BufferedReader lines = Files.newBufferedReader(keys, StandardCharsets.ISO_8859_1)) {
            for (String line; (line = lines.readLine()) != null; ) {
                int space = line.indexOf(' ');
                cache.put(line.substring(0, space), Base64.getDecoder().decode(line.substring(space + 1)));
            }
        } catch (IOException | RuntimeException error) {
            throw new ServletException("cannot read " + keys, error);
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int length = request.getContentLength();
        if (length < 0 || length > BODY_BYTES_MAX) {
            answer(response, 413, "{\"errors\":[\"the body's length is not told, or too large\"]}\n");
            return;
        }
        byte[] body = new byte[length];
        try (InputStream in = request.getInputStream()) {
            if (in.readNBytes(body, 0, length) < length) {
                answer(response, 400, "{\"errors\":[\"the body is cut off\"]}\n");
                return;
            }
        }
        String ciphertext = ciphertext(body);
        byte[] key = ciphertext == null ? null : cache.get(ciphertext);
        if (key == null) {
            answer(response, 400, "{\"errors\":[\"no such ciphertext\"]}\n");
            return;
        }
        // SecureRandom, which UUID.randomUUID asks, would cost more than all the rest.
        ThreadLocalRandom random = ThreadLocalRandom.current();
        UUID id = new UUID(random.nextLong(), random.nextLong());
        answer(response, 200, "{\"request_id\":\"" + id + "\",\"lease_id\":\"\",\"renewable\":false,\"lease_duration\":0,"
                + "\"data\":{\"plaintext\":\"" + Base64.getEncoder().encodeToString(key) + "\"},"
                + "\"wrap_info\":null,\"warnings\":null,\"auth\":null}\n");
    }

    /** The value of the one field that is looked at; a whole JSON parser would only make it slower. */
    private static String ciphertext(byte[] body) {
        for (int at = 0; at + FIELD.length <= body.length; at++) {
            int same = 0;
            while (same < FIELD.length && body[at + same] == FIELD[same]) {
                same++;
            }
            if (same < FIELD.length) {
                continue;
            }
            int from = at + same;
            for (int to = from; to < body.length; to++) {
                if (body[to] == '"') {
                    return new String(body, from, to - from, StandardCharsets.ISO_8859_1);
                }
            }
            return null;
        }
        return null;
    }

    private static void answer(HttpServletResponse response, int status, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.ISO_8859_1);
        response.setStatus(status);
        response.setContentType("application/json");
        response.setHeader("Cache-Control", "no-store");
        response.setHeader("Strict-Transport-Security", "max-age=31536000; includeSubDomains");
        response.setContentLength(body.length);
        try (OutputStream out = response.getOutputStream()) {
            out.write(body);
        }
    }
}
