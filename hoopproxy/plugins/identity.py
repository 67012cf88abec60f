"""The checkers that come with hoopproxy."""

from hoopproxy.identity.plugins import CertificateCheckerPlugin, FileCheckerPlugin

file_checker = FileCheckerPlugin()
certificate_checker = CertificateCheckerPlugin()
