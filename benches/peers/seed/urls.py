from django.urls import path

from seed.messaging import views

urlpatterns = [
    path("api/v1/messaging/send-otp/", views.send_otp),
    path("api/v1/messaging/verify-otp/", views.verify_otp),
]
