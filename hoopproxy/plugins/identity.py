"""The checkers that come with hoopproxy."""

from hoopproxy.identity.plugins import CertificateCheckerPlugin, CodeCheckerPlugin, FileCheckerPlugin
from hoopproxy.identity.ssh_plugins import AuthorityCheckerPlugin, KeyCheckerPlugin

file_checker = FileCheckerPlugin()
certificate_checker = CertificateCheckerPlugin()
code_checker = CodeCheckerPlugin()
ssh_key_checker = KeyCheckerPlugin()
ssh_authority_checker = AuthorityCheckerPlugin()
