"""Makes ``twistd hoopproxy`` known. Imported by every run of twistd, so it imports nothing of ours."""

from twisted.application.service import ServiceMaker

hoopproxy = ServiceMaker(
    "hoopproxy", "hoopproxy.tap", "A gateway that records, decides and proves what was done.", "hoopproxy"
)
