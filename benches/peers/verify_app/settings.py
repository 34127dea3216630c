from django_settings import *  # noqa: F403

INSTALLED_APPS = ["rest_framework", "phone_verify"]
ROOT_URLCONF = "verify_app.urls"
# It answers without a Content-Length otherwise, and every answer would go in chunks.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}
PHONE_VERIFICATION = {
    "BACKEND": "verify_app.backend.Loopback",
    "OPTIONS": {},
    "TOKEN_LENGTH": 6,
    "MESSAGE": "{security_code} is your code for {app}.",
    "APP_NAME": "bench",
    "SECURITY_CODE_EXPIRATION_SECONDS": 600,
    "VERIFY_SECURITY_CODE_ONLY_ONCE": True,
}
