"""Makes the tables, the one user and its token."""

import os

import django
from django.core.management import call_command

django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)

from django.contrib.auth.models import User  # noqa: E402

from seed.messaging.models import AccessToken  # noqa: E402

ada = User.objects.create(id=1, username="ada")
AccessToken.objects.create(key=os.environ["BENCH_BEARER"], user=ada)
