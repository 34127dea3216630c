from django_settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "seed.messaging"]
ROOT_URLCONF = "seed.urls"
