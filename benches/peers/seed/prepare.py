"""Makes the tables and the one user."""

import django
from django.core.management import call_command

django.setup()
call_command("migrate", run_syncdb=True, verbosity=0)

from django.contrib.auth.models import User  # noqa: E402

User.objects.create(id=1, username="ada")
