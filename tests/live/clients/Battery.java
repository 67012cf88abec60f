import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.Arrays;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/** pgjdbc against one server; prints its transcript, one "step<TAB>value" a line. The address is in the environment. */
public final class Battery {
    private static void note(String step, Object value) {
        System.out.println(step + "\t" + String.valueOf(value).replace("\\", "\\\\").replace("\n", "\\n"));
    }

    private interface Block {
        void run() throws Exception;
    }

    private static void expectError(String step, Block block) {
        try {
            block.run();
            note(step, "no error");
        } catch (SQLException error) {
            note(step, error.getSQLState() + " " + error.getMessage());
        } catch (Exception error) {
            note(step, error.getClass().getName() + " " + error.getMessage());
        }
    }

    private static Connection open(String... more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        if (System.getenv("PGPASSWORD") != null) properties.setProperty("password", System.getenv("PGPASSWORD"));
        String mode = System.getenv("HP_SSLMODE");
        properties.setProperty("sslmode", mode);
        if (!mode.equals("disable")) properties.setProperty("sslrootcert", System.getenv("HP_CA"));
        properties.setProperty("ApplicationName", "jdbc battery");
        properties.setProperty("connectTimeout", "20");
        for (int i = 0; i < more.length; i += 2) properties.setProperty(more[i], more[i + 1]);
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    private static String rows(ResultSet results) throws SQLException {
        StringBuilder text = new StringBuilder();
        int columns = results.getMetaData().getColumnCount();
        while (results.next()) {
            for (int i = 1; i <= columns; i++) text.append(results.getString(i)).append(i < columns ? "," : ";");
        }
        return text.toString();
    }

    private static void statements(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            note("who", rows(statement.executeQuery("SELECT current_user, current_database()")));
            statement.execute("CREATE TEMP TABLE t (id int PRIMARY KEY, v text, at timestamp, data bytea)");
            boolean more = statement.execute("SELECT 1; SELECT 2; INSERT INTO t (id) VALUES (-1)");
            note("multi", more + " " + rows(statement.getResultSet()) + statement.getMoreResults() + rows(statement.getResultSet()));
        }
        // Over prepareThreshold (5): the driver moves from the unnamed to a named server-side statement.
        try (PreparedStatement prepared = connection.prepareStatement("SELECT ?::int + 1, ?::text")) {
            for (int n = 0; n < 8; n++) {
                prepared.setInt(1, n);
                prepared.setString(2, n == 3 ? null : "ünï" + n);
                note("prepared", rows(prepared.executeQuery()));
            }
        }
        try (PreparedStatement batch = connection.prepareStatement("INSERT INTO t VALUES (?, ?, ?, ?)")) {
            for (int n = 0; n < 500; n++) {
                batch.setInt(1, n);
                batch.setString(2, "value " + n);
                batch.setTimestamp(3, Timestamp.valueOf("2024-01-02 03:04:05.006"));
                batch.setBytes(4, new byte[] {(byte) n, 0, -1});
                batch.addBatch();
            }
            note("batch", Arrays.stream(batch.executeBatch()).sum());
            batch.setInt(1, 900);
            batch.setString(2, "a");
            batch.setTimestamp(3, null);
            batch.setBytes(4, null);
            batch.addBatch();
            batch.setInt(1, 1);
            batch.addBatch();
            expectError("batch with a duplicate", batch::executeBatch);
        }
        try (PreparedStatement keys = connection.prepareStatement("INSERT INTO t (id) VALUES (1000)", Statement.RETURN_GENERATED_KEYS)) {
            keys.executeUpdate();
            ResultSet made = keys.getGeneratedKeys();
            made.next();
            note("generated keys", made.getInt(1));
        }
        expectError("division", () -> connection.createStatement().executeQuery("SELECT 1/0"));
        expectError("syntax", () -> connection.createStatement().executeQuery("SELEKT 1"));
        DatabaseMetaData meta = connection.getMetaData();
        note("product", meta.getDatabaseProductName() + " " + meta.getDatabaseProductVersion());
        ResultSet columns = meta.getColumns(null, null, "pg_am", null);
        StringBuilder names = new StringBuilder();
        while (columns.next()) names.append(columns.getString("COLUMN_NAME")).append(' ');
        note("metadata", names);
    }

    private static void fetchSize(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (PreparedStatement prepared = connection.prepareStatement("SELECT n, repeat('x', n % 50) FROM generate_series(1, ?) n")) {
            prepared.setFetchSize(37); // a portal with a row limit: suspended 27 times
            prepared.setInt(1, 1000);
            int count = 0;
            long sum = 0;
            ResultSet results = prepared.executeQuery();
            while (results.next()) {
                count++;
                sum += results.getInt(1);
            }
            note("fetch size", count + " " + sum);
            ResultSet half = prepared.executeQuery();
            for (int n = 0; n < 100; n++) half.next();
            half.close(); // left suspended
        }
        Savepoint savepoint = connection.setSavepoint();
        expectError("in a savepoint", () -> connection.createStatement().execute("SELECT nonsense"));
        connection.rollback(savepoint);
        note("after the savepoint", rows(connection.createStatement().executeQuery("SELECT 'fine'")));
        connection.rollback();
        connection.setAutoCommit(true);
    }

    private static void copying(Connection connection) throws Exception {
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 3000; n++) lines.append(n + 5000).append("\tcopied ").append(n).append('\n');
        note("copy in", manager.copyIn("COPY t (id, v) FROM STDIN", new StringReader(lines.toString())));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        note("copy out", manager.copyOut("COPY (SELECT id, v FROM t ORDER BY id) TO STDOUT (FORMAT csv)", out));
        note("copied", Arrays.hashCode(out.toByteArray()));
        expectError("bad copy", () -> manager.copyIn("COPY t FROM STDIN", new ByteArrayInputStream("x\n".getBytes(StandardCharsets.UTF_8))));
        note("usable after bad copy", rows(connection.createStatement().executeQuery("SELECT 1")));
    }

    /** Large objects use the FunctionCall message. */
    private static void largeObject(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = manager.createLO(LargeObjectManager.READWRITE);
        LargeObject object = manager.open(oid, LargeObjectManager.WRITE);
        object.write(new byte[100_000]);
        object.close();
        object = manager.open(oid, LargeObjectManager.READ);
        note("large object", object.size() + " " + object.read(10).length);
        object.close();
        manager.delete(oid);
        connection.rollback();
        connection.setAutoCommit(true);
    }

    /** A cancel that comes before the statement strikes nothing. */
    private static void untilAsleep(int pid) throws Exception {
        String asked = "SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid + " AND wait_event = 'PgSleep'";
        try (Connection other = open(); Statement statement = other.createStatement()) {
            while (!rows(statement.executeQuery(asked)).equals("1;")) Thread.sleep(20);
        }
    }

    private static void cancelling(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Thread killer = new Thread(() -> {
                try {
                    untilAsleep(connection.unwrap(PGConnection.class).getBackendPID());
                    statement.cancel();
                } catch (Exception error) {
                    note("cancel failed", error);
                }
            });
            killer.start();
            expectError("cancelled", () -> statement.executeQuery("SELECT pg_sleep(60)"));
            killer.join();
        }
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            expectError("query timeout", () -> statement.executeQuery("SELECT pg_sleep(20)"));
        }
        note("usable", rows(connection.createStatement().executeQuery("SELECT 'yes'")));
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = open()) {
            statements(connection);
            fetchSize(connection);
            copying(connection);
            largeObject(connection);
            cancelling(connection);
        }
        try (Connection connection = open("preferQueryMode", "simple")) {
            note("simple mode", rows(connection.createStatement().executeQuery("SELECT 'simple'")));
            PreparedStatement prepared = connection.prepareStatement("SELECT ?::int, ?::text");
            prepared.setInt(1, 3);
            prepared.setString(2, "it's");
            note("simple parameters", rows(prepared.executeQuery()));
        }
        try (Connection connection = open("binaryTransfer", "true", "prepareThreshold", "-1", "reWriteBatchedInserts", "true")) {
            PreparedStatement prepared = connection.prepareStatement("SELECT ?::int8, ?::float8, ?::numeric, ?::timestamptz, ?::uuid");
            prepared.setLong(1, Long.MIN_VALUE);
            prepared.setDouble(2, 0.1);
            prepared.setBigDecimal(3, new java.math.BigDecimal("1.230"));
            prepared.setObject(4, java.time.OffsetDateTime.parse("2024-01-01T00:00:00Z"));
            prepared.setObject(5, new java.util.UUID(1, 2));
            note("binary", rows(prepared.executeQuery()));
        }
    }
}
