// better-auth's phone-number plugin: codes are asked for at its own endpoint under its own handler for node:http;
// they are verified by its server function, because its endpoint would also make a user and a session. No logs, no rate limits,
// no telemetry, no clean-up, and the index that it does not make.
import http from "node:http";
import Database from "better-sqlite3";
import twilio from "twilio";
import { betterAuth } from "better-auth";
import { toNodeHandler } from "better-auth/node";
import { getMigrations } from "better-auth/db/migration";
import { phoneNumber } from "better-auth/plugins";

const env = process.env;
const database = new Database(env.BENCH_DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");

// Twilio's own library, as an application has it, with its own client to another address; with BENCH_BARE set a plain request
// over kept connections, the least that sending can cost.
function library() {
  const create = twilio(env.BENCH_ACCOUNT, env.BENCH_TOKEN, {
    httpClient: new (class extends twilio.RequestClient {
      request(options) {
        return super.request({ ...options, uri: env.BENCH_MESSAGES_URL });
      }
    })({ keepAlive: true, maxSockets: 64 }),
  });
  return (to, body) => create.messages.create({ to, from: env.BENCH_NUMBER, body });
}

function bare() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const url = new URL(env.BENCH_MESSAGES_URL);
  const login = "Basic " + Buffer.from(`${env.BENCH_ACCOUNT}:${env.BENCH_TOKEN}`).toString("base64");
  return (to, text) => {
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
  };
}

const post = env.BENCH_BARE ? bare() : library();

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
const auth = betterAuth(options);
const handle = toNodeHandler(auth);
const bearer = `Bearer ${env.BENCH_BEARER}`;

const server = http.createServer((request, response) => {
  const answer = (status, body) => {
    const text = JSON.stringify(body);
    response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
    response.end(text);
  };
  if (request.headers.authorization !== bearer) return answer(401, { message: "Unauthorized" });
  if (request.url.startsWith("/api/auth/")) return handle(request, response);
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", async () => {
    try {
      const asked = JSON.parse(Buffer.concat(chunks).toString());
      answer(200, await auth.api.consumePhoneNumberOTP({ body: { phoneNumber: asked.phoneNumber, code: asked.code } }));
    } catch (error) {
      answer(error.statusCode ?? 500, { message: String(error.message) });
    }
  });
});
server.keepAliveTimeout = 75_000;
server.listen(Number(env.BENCH_PORT), "127.0.0.1");
