// What Java itself reads from keystores: the second opinion of tests/keystore_corpus.rs.
// Arguments in groups of four: file, type, store password, key password.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.Certificate;
import java.util.*;

public class Oracle {
    static String sha256(byte[] bytes) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    }

    static List<String> entries(String file, String type, char[] store, char[] key) throws Exception {
        KeyStore opened = KeyStore.getInstance(type);
        try (InputStream in = new ByteArrayInputStream(Files.readAllBytes(Path.of(file)))) {
            opened.load(in, store);
        }
        List<String> lines = new ArrayList<>();
        for (String alias : Collections.list(opened.aliases())) {
            String name = alias.toLowerCase(Locale.ENGLISH);
            if (opened.isCertificateEntry(alias)) {
                lines.add("trusted " + name + " " + sha256(opened.getCertificate(alias).getEncoded()));
                continue;
            }
            StringBuilder line = new StringBuilder("key " + name + " " + sha256(opened.getKey(alias, key).getEncoded()));
            Certificate[] chain = opened.getCertificateChain(alias);
            for (Certificate certificate : chain == null ? new Certificate[0] : chain) {
                line.append(' ').append(sha256(certificate.getEncoded()));
            }
            lines.add(line.toString());
        }
        Collections.sort(lines);
        return lines;
    }

    public static void main(String[] manifest) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (int at = 0; at + 3 < manifest.length; at += 4) {
            out.println("file " + manifest[at]);
            try {
                entries(manifest[at], manifest[at + 1], manifest[at + 2].toCharArray(), manifest[at + 3].toCharArray())
                    .forEach(out::println);
            } catch (Exception e) {
                out.println("error");
            }
        }
    }
}
