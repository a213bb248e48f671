import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Keystores by Java's own KeyStore.
 *
 * <p>write TYPE FILE PASSWORD ENTRY...: makes one; an entry is key:ALIAS:P12:PASSWORD or trust:ALIAS:CERTIFICATE.
 *
 * <p>ask TYPE FILE PASSWORD URL BODY: posts with the file as key store and as trust store, and prints status and answer.
 */
public class RoundTrip {
    public static void main(String[] args) throws Exception {
        String type = args[1], file = args[2];
        char[] password = args[3].toCharArray();
        if (args[0].equals("write")) {
            KeyStore made = KeyStore.getInstance(type);
            made.load(null, null);
            for (int i = 4; i < args.length; i++) {
                add(made, args[i].split(":"), password);
            }
            try (OutputStream out = new FileOutputStream(file)) {
                made.store(out, password);
            }
            return;
        }
        KeyStore store = load(type, file, password);
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, password);
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        HttpsURLConnection connection = (HttpsURLConnection) new URL(args[4]).openConnection();
        connection.setSSLSocketFactory(context.getSocketFactory());
        connection.setDoOutput(true);
        connection.setConnectTimeout(20000);
        connection.setReadTimeout(20000);
        connection.getOutputStream().write(args[5].getBytes(StandardCharsets.UTF_8));
        int status = connection.getResponseCode();
        try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            System.out.println(status + " " + new String(in.readAllBytes(), StandardCharsets.UTF_8));
        }
    }

    private static KeyStore load(String type, String file, char[] password) throws Exception {
        KeyStore store = KeyStore.getInstance(type);
        try (InputStream in = new FileInputStream(file)) {
            store.load(in, password);
        }
        return store;
    }

    private static void add(KeyStore made, String[] entry, char[] password) throws Exception {
        if (entry[0].equals("trust")) {
            try (InputStream in = new FileInputStream(entry[2])) {
                made.setCertificateEntry(entry[1], CertificateFactory.getInstance("X.509").generateCertificate(in));
            }
            return;
        }
        char[] own = entry[3].toCharArray();
        KeyStore source = load("PKCS12", entry[2], own);
        String alias = source.aliases().nextElement();
        made.setKeyEntry(entry[1], source.getKey(alias, own), password, source.getCertificateChain(alias));
    }
}
