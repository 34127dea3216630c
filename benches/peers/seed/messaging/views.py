"""The seed's flow and no more: how often the phone asked lately, one code at a time, the code, the message; the
newest code, compared, used up; whose token it is. With BENCH_BARE set only one insert and one post, one read and one update,
and a token that is compared with a constant. No audit log."""

import hmac
import json
import os
import secrets
from datetime import timedelta

from django.http import HttpResponse
from django.utils import timezone

import carrier
from seed.messaging.models import AccessToken, OTPRecord

BARE = bool(os.environ.get("BENCH_BARE"))
BEARER = "Bearer " + os.environ["BENCH_BEARER"]
MOST = 5


def answer(status, body):
    text = json.dumps(body)
    return HttpResponse(text, status=status, content_type="application/json", headers={"Content-Length": str(len(text))})


def asked(request):
    """Who asks, and for what."""
    shown = request.headers.get("Authorization", "")
    if BARE:
        user_id = 1 if hmac.compare_digest(shown, BEARER) else None
    else:
        token = AccessToken.objects.select_related("user").filter(key=shown.removeprefix("Bearer ")).first()
        user_id = token.user.id if token and token.user.is_active else None
    if request.method != "POST" or user_id is None:
        return None, None
    return user_id, json.loads(request.body)


def allowed(body):
    """A sliding window for the phone; its older codes for the purpose are over."""
    since = timezone.now() - timedelta(hours=1)
    recent = OTPRecord.objects.filter(created_at__gt=since)
    if recent.filter(phone_number=body["phone_number"])[:MOST].count() == MOST:
        return False
    living = OTPRecord.objects.filter(phone_number=body["phone_number"], purpose=body["purpose"], is_verified=False)
    living.update(expires_at=timezone.now())
    return True


def send_otp(request):
    user_id, body = asked(request)
    if body is None:
        return answer(401, {"message": "Unauthorized"})
    if not BARE and not allowed(body):
        return answer(429, {"message": "Too many requests"})
    code = f"{secrets.randbelow(1_000_000):06d}"
    record = OTPRecord(user_id=user_id, phone_number=body["phone_number"], otp_code=code, purpose=body["purpose"])
    record.save(force_insert=True)
    carrier.post(record.phone_number, f"{code} is your code. It is valid for 10 minutes.")
    return answer(200, {"message": "OTP sent successfully", "otp_id": record.id})


def verify_otp(request):
    user_id, body = asked(request)
    if body is None:
        return answer(401, {"message": "Unauthorized"})
    records = OTPRecord.objects.filter(
        user_id=user_id, phone_number=body["phone_number"], purpose=body["purpose"], is_verified=False
    )
    record = records.order_by("-created_at").first()
    right = record is not None and not record.is_expired() and hmac.compare_digest(record.otp_code, body["otp_code"])
    if not right or not OTPRecord.objects.filter(id=record.id, is_verified=False).update(is_verified=True):
        return answer(400, {"message": "Invalid OTP", "verified": False})
    return answer(200, {"message": "OTP verified successfully", "verified": True})
