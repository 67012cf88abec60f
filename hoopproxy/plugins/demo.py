"""What the demonstration adds: users with drawn passwords, and the passwords of the embedded server."""

from hoopproxy.demo.endpoint import EmbeddedPasswords
from hoopproxy.demo.people import DemoCheckerPlugin

demo_checker = DemoCheckerPlugin()
embedded_passwords = EmbeddedPasswords()
