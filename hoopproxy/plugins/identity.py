"""The checkers that come with hoopproxy."""

from hoopproxy.identity.plugins import CertificateCheckerPlugin, FileCheckerPlugin
from hoopproxy.identity.ssh_plugins import AuthorityCheckerPlugin, KeyCheckerPlugin

file_checker = FileCheckerPlugin()
certificate_checker = CertificateCheckerPlugin()
ssh_key_checker = KeyCheckerPlugin()
ssh_authority_checker = AuthorityCheckerPlugin()
