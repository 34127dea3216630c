"""A client of `smsotp serve` in one file. It needs Python 3.8 or newer and nothing else."""

import json
import urllib.error
import urllib.request


class Refused(Exception):
    """The server said no. `code` is stable; `retry_after` is in seconds, where waiting helps."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status = status
        self.code = problem.get("code")
        self.retry_after = problem.get("retry_after_seconds")


class Smsotp:
    def __init__(self, url, token, timeout=40):
        self.url, self.token, self.timeout = url.rstrip("/"), token, timeout

    def send(self, phone, user, purpose, key=None, **more):
        """Sends a code. With the same `key` it is sent once, however often this is called. Returns the id of the otp."""
        body = {"phone_number": phone, "user": user, "purpose": purpose, **more}
        return self._post("send-otp", body, key)["otp_id"]

    def verify(self, phone, user, purpose, code, **more):
        """True: the code was right, once. False: it was not. Everything else raises `Refused`."""
        body = {"phone_number": phone, "user": user, "purpose": purpose, "otp_code": code, **more}
        try:
            return self._post("verify-otp", body)["verified"]
        except Refused as refused:
            if refused.code in ("invalid_code", "code_invalid"):
                return False
            raise

    def _post(self, what, body, key=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(
            f"{self.url}/api/v1/messaging/{what}/", json.dumps(body).encode(), headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.load(error)) from None
