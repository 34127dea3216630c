// better-auth's phone-number plugin at its best: its two deeds are called directly, so that the router, origin checks, cookies
// and rate limits of its own HTTP handler cost nothing, and a verification makes no user and no session. No logs, no telemetry.
import http from "node:http";
import Database from "better-sqlite3";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { phoneNumber } from "better-auth/plugins";

const env = process.env;
const database = new Database(env.BENCH_DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const url = new URL(env.BENCH_MESSAGES_URL);
const login = "Basic " + Buffer.from(`${env.BENCH_ACCOUNT}:${env.BENCH_TOKEN}`).toString("base64");

function post(to, text) {
  const body = new URLSearchParams({ To: to, From: env.BENCH_NUMBER, Body: text }).toString();
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        agent,
        host: url.hostname,
        port: url.port,
        path: url.pathname,
        method: "POST",
        headers: {
          Authorization: login,
          "Content-Type": "application/x-www-form-urlencoded",
          "Content-Length": Buffer.byteLength(body),
        },
      },
      (answer) => {
        answer.resume();
        answer.on("end", () => (answer.statusCode === 201 ? resolve() : reject(new Error(`provider: ${answer.statusCode}`))));
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

const options = {
  secret: "a-secret-of-a-benchmark-that-is-long-enough",
  baseURL: "http://127.0.0.1",
  database,
  logger: { disabled: true },
  telemetry: { enabled: false },
  rateLimit: { enabled: false },
  verification: { disableCleanup: true },
  plugins: [phoneNumber({ expiresIn: 600, sendOTP: ({ phoneNumber, code }) => post(phoneNumber, `${code} is your code.`) })],
};
const { runMigrations } = await getMigrations(options);
await runMigrations();
database.exec("CREATE INDEX IF NOT EXISTS verification_identifier ON verification (identifier)");
const { api } = betterAuth(options);
const bearer = `Bearer ${env.BENCH_BEARER}`;

const server = http.createServer((request, response) => {
  const answer = (status, body) => {
    const text = JSON.stringify(body);
    response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
    response.end(text);
  };
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    try {
      if (request.headers.authorization !== bearer) return answer(401, { message: "Unauthorized" });
      const asked = JSON.parse(Buffer.concat(chunks).toString());
      if (request.url === "/send") return answer(200, await api.sendPhoneNumberOTP({ body: { phoneNumber: asked.phone_number } }));
      const body = { phoneNumber: asked.phone_number, code: asked.otp_code };
      answer(200, await api.consumePhoneNumberOTP({ body }));
    } catch (error) {
      answer(error.statusCode ?? 500, { message: String(error.message) });
    }
  });
});
server.keepAliveTimeout = 75_000;
server.listen(Number(env.BENCH_PORT), "127.0.0.1");
