from phone_verify.api import VerificationViewSet
from rest_framework.routers import SimpleRouter

router = SimpleRouter()
router.register("phone", VerificationViewSet, basename="phone")
urlpatterns = router.urls
