"""Makes the sink known to hoopproxy: nothing but registrations belongs in a module here."""

from hoopproxy_webhook import Webhook

webhook = Webhook()
