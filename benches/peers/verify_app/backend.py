from phone_verify.backends.base import BaseBackend

import carrier


class Loopback(BaseBackend):
    def __init__(self, **options):
        super().__init__(**options)
        self.exception_class = RuntimeError

    def send_sms(self, number, message):
        carrier.post(str(number), message)

    def send_bulk_sms(self, numbers, message):
        for number in numbers:
            self.send_sms(number, message)
