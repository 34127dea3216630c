"""What both Django applications have in common, at its best: no middleware that is not needed, no logs, no debugging, SQLite
with a write-ahead log, durable commits, kept connections, and transactions that begin as writers."""

import os

DEBUG = False
SECRET_KEY = "benchmark"
ALLOWED_HOSTS = ["*"]
MIDDLEWARE = []
LOGGING_CONFIG = None
USE_TZ = True
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCH_DATABASE"],
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }
}
