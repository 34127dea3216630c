"""Drives the sandbox with Twilio's Python library, pointed at it by a custom HTTP client."""

import json
import os
import queue
import re
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote
from urllib.request import urlopen

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

SID = os.environ["TWILIO_ACCOUNT_SID"]
TOKEN = os.environ["TWILIO_AUTH_TOKEN"]
NUMBER = os.environ["TWILIO_PHONE_NUMBER"]
BASE = os.environ["TWILIO_API_BASE_URL"]
PHONE = "+12025550131"


class ToSandbox(TwilioHttpClient):
    """Sends what is meant for any host of Twilio's to the sandbox."""

    def request(self, method, url, *args, **kwargs):
        return super().request(method, re.sub(r"^https://[a-z0-9.-]+\.twilio\.com", BASE, url), *args, **kwargs)


def refused(code, status, deed):
    try:
        deed()
    except TwilioRestException as e:
        assert (e.code, e.status) == (code, status), (e.code, e.status, code, status)
    else:
        raise AssertionError(f"{code} was expected")


def client(sid=SID, token=TOKEN):
    return Client(sid, token, http_client=ToSandbox())


twilio = client()

made = [twilio.messages.create(to=PHONE, from_=NUMBER, body=f"message {n}") for n in range(5)]
first = made[0]
assert re.fullmatch(r"SM[0-9a-f]{32}", first.sid), first.sid
assert (first.status, first.direction, first.num_segments) == ("queued", "outbound-api", "1")
assert first.date_created.tzinfo is not None and first.date_sent is None

fetched = twilio.messages(first.sid).fetch()
assert (fetched.body, fetched.to, fetched.from_) == ("message 0", PHONE, NUMBER)

# Two to a page: the library follows the links.
listed = twilio.messages.list(to=PHONE, page_size=2)
assert [m.body for m in listed] == [f"message {n}" for n in (4, 3, 2, 1, 0)], [m.body for m in listed]
page = twilio.messages.page(to=PHONE, page_size=2)
following = page.next_page()
assert [m.body for m in following] == ["message 2", "message 1"]
assert [m.body for m in following.previous_page()] == ["message 4", "message 3"]
tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
assert twilio.messages.list(to=PHONE, date_sent_after=tomorrow) == []
assert all(m.to == PHONE for m in twilio.messages.stream(to=PHONE, date_sent_before=tomorrow))

service = twilio.messaging.v1.services.list(limit=5)[0]
assert twilio.messaging.v1.services(service.sid).fetch().sid == service.sid
assert twilio.messaging.v1.services(service.sid).phone_numbers.list()[0].phone_number == NUMBER
assert twilio.messaging.v1.services(service.sid).alpha_senders.list() == []
assert twilio.messaging.v1.services(service.sid).short_codes.list() == []
scheduled = twilio.messages.create(
    to=PHONE,
    messaging_service_sid=service.sid,
    body="later",
    schedule_type="fixed",
    send_at=datetime.now(timezone.utc) + timedelta(hours=1),
)
assert (scheduled.status, scheduled.from_, scheduled.num_segments) == ("scheduled", None, "0")
assert twilio.messages(scheduled.sid).update(status="canceled").status == "canceled"
refused(30409, 400, lambda: twilio.messages(scheduled.sid).update(status="canceled"))

assert twilio.messages(first.sid).update(body="").body == ""
assert twilio.messages(first.sid).fetch().body == ""
assert twilio.messages(first.sid).feedback.create(outcome="confirmed").outcome == "confirmed"
assert twilio.messages(first.sid).media.list() == []
for _ in range(100):  # A message on its way cannot be deleted: 20009.
    if twilio.messages(made[1].sid).fetch().status == "delivered":
        break
    time.sleep(0.1)
assert twilio.messages(made[1].sid).delete()
refused(20404, 404, lambda: twilio.messages(made[1].sid).fetch())

account = twilio.api.v2010.accounts(SID).fetch()
assert (account.sid, account.status, account.type) == (SID, "active", "Full")
assert [a.sid for a in twilio.api.v2010.accounts.list()] == [SID]
balance = twilio.balance.fetch()
assert balance.currency == "USD" and 0 < float(balance.balance) <= 20
numbers = twilio.incoming_phone_numbers.list(phone_number=NUMBER)
assert [n.phone_number for n in numbers] == [NUMBER] and numbers[0].capabilities["sms"]
assert twilio.incoming_phone_numbers(numbers[0].sid).fetch().phone_number == NUMBER
assert twilio.usage.records.today.list(category="sms")[0].category == "sms"
assert twilio.pricing.v1.messaging.countries("US").fetch().iso_country == "US"
assert len(twilio.pricing.v1.messaging.countries.list(page_size=100)) > 200
assert twilio.lookups.v2.phone_numbers(PHONE).fetch(fields="line_type_intelligence").valid
permissions = twilio.accounts.v1.messaging_geopermissions.fetch(country_code="IN,US").permissions
assert {p["country_code"] for p in permissions} == {"IN", "US"}
assert twilio.calls.create(to=PHONE, from_=NUMBER, twiml="<Response/>").status == "queued"

create = twilio.messages.create
refused(21604, 400, lambda: create(to="", from_=NUMBER, body="x"))
refused(21603, 400, lambda: create(to=PHONE, body="x"))
refused(21602, 400, lambda: create(to=PHONE, from_=NUMBER))
refused(21211, 400, lambda: create(to="12345678", from_=NUMBER, body="x"))
refused(21659, 400, lambda: create(to=PHONE, from_="+12025550199", body="x"))
refused(21212, 400, lambda: create(to=PHONE, from_="+12x", body="x"))
refused(21617, 400, lambda: create(to=PHONE, from_=NUMBER, body="x" * 1601))
refused(20404, 404, lambda: twilio.messages("SM" + "0" * 32).fetch())
refused(20003, 401, lambda: client(token="wrong").balance.fetch())

# A whole verification.
def code_of(phone):
    inbox = json.load(urlopen(f"{BASE}/sandbox/inbox?to={quote(phone)}"))["messages"]
    return re.search(r"[0-9]{6}", inbox[-1]["body"]).group()


service = twilio.verify.v2.services.create(friendly_name="ACME")
assert [s.sid for s in twilio.verify.v2.services.list()][0] == service.sid
verify = twilio.verify.v2.services(service.sid)
person = "+12025550132"
begun = verify.verifications.create(to=person, channel="sms")
assert (begun.status, begun.to, begun.channel, len(begun.send_code_attempts)) == ("pending", person, "sms", 1)
code = code_of(person)
wrong = "000000" if code != "000000" else "111111"
assert verify.verification_checks.create(to=person, code=wrong).status == "pending"
assert verify.verifications.create(to=person, channel="sms").sid == begun.sid and code_of(person) == code
checked = verify.verification_checks.create(verification_sid=begun.sid, code=code)
assert (checked.status, checked.valid) == ("approved", True)
refused(20404, 404, lambda: verify.verification_checks.create(to=person, code=code))
refused(60200, 400, lambda: verify.verifications.create(to=person, channel="pigeon"))
second = verify.verifications.create(to=person, channel="whatsapp")
assert verify.verifications(second.sid).fetch().date_created.tzinfo is not None
assert verify.verifications(second.sid).update(status="canceled").status == "canceled"
# What was sent and entered, and a limit of the service's own.
attempts = twilio.verify.v2.verification_attempts.list(verify_service_sid=service.sid)
assert [one.conversion_status for one in attempts] == ["unconverted", "converted", "unconverted"]
assert twilio.verify.v2.verification_attempts(attempts[1].sid).fetch().channel_data["to"] == person
summary = twilio.verify.v2.verification_attempts_summary().fetch(verify_service_sid=service.sid)
assert (summary.total_attempts, summary.total_converted) == (3, 1)
assert summary.conversion_rate_percentage == "33.333333333"
limit = verify.rate_limits.create(unique_name="ip", description="by address")
bucket = verify.rate_limits(limit.sid).buckets.create(max=1, interval=60)
assert [one.sid for one in verify.rate_limits.list()] == [limit.sid]
assert verify.rate_limits(limit.sid).buckets(bucket.sid).fetch().interval == 60


def from_here(phone):
    return verify.verifications.create(to=phone, channel="sms", rate_limits={"ip": "192.0.2.1"})


assert from_here("+12025550133").status == "pending"
refused(20429, 429, lambda: from_here("+12025550134"))
assert verify.rate_limits(limit.sid).delete()
assert len(twilio.verify.v2.templates.list()) == 3
assert twilio.verify.v2.safelist.create(phone_number=person).phone_number == person
refused(60411, 400, lambda: twilio.verify.v2.safelist.create(phone_number=person))
assert twilio.verify.v2.safelist(person).delete()
assert service.delete()
assert twilio.lookups.v1.phone_numbers(person).fetch(type=["carrier"]).carrier["type"] == "mobile"

# The status callbacks stand before Twilio's own validator.
told = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        told.put((self.headers["X-Twilio-Signature"], self.path, dict(parse_qsl(form, keep_blank_values=True))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
origin = f"http://127.0.0.1:{server.server_port}"
message = create(to=PHONE, from_=NUMBER, body="x", status_callback=f"{origin}/status?user=7")
statuses = []
while statuses[-1:] != ["delivered"]:
    signature, path, form = told.get(timeout=30)
    assert RequestValidator(TOKEN).validate(origin + path, form, signature)
    assert not RequestValidator("other").validate(origin + path, form, signature)
    assert form["MessageSid"] == message.sid
    statuses.append(form["MessageStatus"])
assert statuses == ["sending", "sent", "delivered"], statuses

print("python: ok")
