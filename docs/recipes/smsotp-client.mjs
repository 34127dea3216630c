// A client of `smsotp serve` in one file. It needs Node.js 18 or newer (or any runtime with fetch) and nothing else.

/** The server said no. `code` is stable; `retryAfter` is in seconds, where waiting helps. */
export class Refused extends Error {
  constructor(status, problem) {
    super(`${status} ${problem.code}: ${problem.detail}`);
    this.status = status;
    this.code = problem.code;
    this.retryAfter = problem.retry_after_seconds;
  }
}

export class Smsotp {
  constructor(url, token, timeout = 40_000) {
    Object.assign(this, { url: url.replace(/\/$/, ""), token, timeout });
  }

  /** Sends a code. With the same `key` it is sent once, however often this is called. Returns the id of the otp. */
  async send(phone, user, purpose, { key, ...more } = {}) {
    const body = { phone_number: phone, user, purpose, ...more };
    return (await this.#post("send-otp", body, key)).otp_id;
  }

  /** true: the code was right, once. false: it was not. Everything else throws `Refused`. */
  async verify(phone, user, purpose, code, more = {}) {
    const body = { phone_number: phone, user, purpose, otp_code: code, ...more };
    try {
      return (await this.#post("verify-otp", body)).verified;
    } catch (error) {
      if (error instanceof Refused && ["invalid_code", "code_invalid"].includes(error.code)) return false;
      throw error;
    }
  }

  async #post(what, body, key) {
    const headers = { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" };
    if (key) headers["Idempotency-Key"] = key;
    const answer = await fetch(`${this.url}/api/v1/messaging/${what}/`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(this.timeout),
    });
    const content = await answer.json();
    if (!answer.ok) throw new Refused(answer.status, content);
    return content;
  }
}
