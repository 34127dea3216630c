"""The least that the endpoints can do: one insert and one post; one read and one update. No rate limit, no audit log; the
bearer's token is compared with a constant, so that it costs no query."""

import hmac
import json
import os
import secrets

from django.http import HttpResponse

import carrier
from seed.messaging.models import OTPRecord

BEARER = "Bearer " + os.environ["BENCH_BEARER"]
USER_ID = 1


def answer(status, body):
    text = json.dumps(body)
    return HttpResponse(text, status=status, content_type="application/json", headers={"Content-Length": str(len(text))})


def asked(request):
    if request.method != "POST" or not hmac.compare_digest(request.headers.get("Authorization", ""), BEARER):
        return None
    return json.loads(request.body)


def send_otp(request):
    body = asked(request)
    if body is None:
        return answer(401, {"message": "Unauthorized"})
    code = f"{secrets.randbelow(1_000_000):06d}"
    record = OTPRecord(user_id=USER_ID, phone_number=body["phone_number"], otp_code=code, purpose=body["purpose"])
    record.save(force_insert=True)
    carrier.post(record.phone_number, f"{code} is your code. It is valid for 10 minutes.")
    return answer(200, {"message": "OTP sent successfully", "otp_id": record.id})


def verify_otp(request):
    body = asked(request)
    if body is None:
        return answer(401, {"message": "Unauthorized"})
    records = OTPRecord.objects.filter(
        user_id=USER_ID, phone_number=body["phone_number"], purpose=body["purpose"], is_verified=False
    )
    record = records.order_by("-created_at").first()
    right = record is not None and not record.is_expired() and hmac.compare_digest(record.otp_code, body["otp_code"])
    if not right or not OTPRecord.objects.filter(id=record.id, is_verified=False).update(is_verified=True):
        return answer(400, {"message": "Invalid OTP", "verified": False})
    return answer(200, {"message": "OTP verified successfully", "verified": True})
