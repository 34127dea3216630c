"""Posts a message to the provider on loopback: with Twilio's own library, as an application does, or with BENCH_BARE set over
one plain connection per thread, the least that sending can cost."""

import base64
import http.client
import os
import threading
from urllib.parse import urlencode, urlsplit

_messages = os.environ["BENCH_MESSAGES_URL"]
_here = threading.local()


if os.environ.get("BENCH_BARE"):
    _url = urlsplit(_messages)
    _login = os.environ["BENCH_ACCOUNT"] + ":" + os.environ["BENCH_TOKEN"]
    _headers = {
        "Authorization": "Basic " + base64.b64encode(_login.encode()).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
    }

    def post(to, text):
        body = urlencode({"To": to, "From": os.environ["BENCH_NUMBER"], "Body": text})
        for attempt in (1, 2):
            if getattr(_here, "line", None) is None:
                _here.line = http.client.HTTPConnection(_url.hostname, _url.port)
            try:
                _here.line.request("POST", _url.path, body, _headers)
                answer = _here.line.getresponse()
                answer.read()
                break
            except (http.client.HTTPException, OSError):
                _here.line = None
                if attempt == 2:
                    raise
        if answer.status != 201:
            raise RuntimeError(f"the provider answered {answer.status}")

else:
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class Loopback(TwilioHttpClient):
        """The library's own client, with its kept connections, to another address."""

        def request(self, method, url, *args, **kwargs):
            return super().request(method, _messages, *args, **kwargs)

    def post(to, text):
        if getattr(_here, "client", None) is None:
            _here.client = Client(os.environ["BENCH_ACCOUNT"], os.environ["BENCH_TOKEN"], http_client=Loopback())
        _here.client.messages.create(to=to, from_=os.environ["BENCH_NUMBER"], body=text)
